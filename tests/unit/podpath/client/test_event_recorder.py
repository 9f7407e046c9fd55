import asyncio
import random

import pytest

from podpath.api import errors
from podpath.api.scheme import EVENTS, PODS
from podpath.client import event_recorder
from podpath.client.event_correlator import Correlator
from podpath.client.event_recorder import NORMAL, WARNING, EventRecorder
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import FakeClock
from protos.k8s.core_v1_pb2 import Event, Pod


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(clock):
    return MemoryClient(clock, random.Random(1))


@pytest.fixture
def recorder(client, clock):
    return EventRecorder(client, "tester", clock=clock, host="node-1")


def a_pod(name="web"):
    pod = Pod()
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = name, "ns", f"uid-{name}"
    return pod


async def stored(client):
    return (await client.list(EVENTS)).items


async def test_an_event_in_upstreams_form(client, recorder, clock):
    recorder.event(PODS, a_pod(), NORMAL, "Scheduled", "It fits.", field_path="spec")
    await recorder.flush()
    (event,) = await stored(client)
    now = int(clock.now().timestamp())
    assert event.metadata.name == f"web.{now * 10**9:x}"
    assert event.metadata.namespace == "ns"
    involved = event.involvedObject
    assert (involved.kind, involved.apiVersion, involved.uid) == ("Pod", "v1", "uid-web")
    assert involved.fieldPath == "spec"
    assert (event.type, event.reason, event.message) == ("Normal", "Scheduled", "It fits.")
    assert (event.source.component, event.source.host) == ("tester", "node-1")
    assert (event.reportingComponent, event.reportingInstance) == ("tester", "node-1")
    assert (event.count, event.firstTimestamp.seconds, event.lastTimestamp.seconds) == (1, now, now)


async def test_the_same_again_raises_the_count(client, recorder, clock):
    recorder.event(PODS, a_pod(), WARNING, "BackOff", "again")
    await recorder.flush()
    clock.step(30)
    recorder.event(PODS, a_pod(), WARNING, "BackOff", "again")
    recorder.event(PODS, a_pod(), WARNING, "BackOff", "again")
    await recorder.flush()
    (event,) = await stored(client)
    assert event.count == 3
    assert event.lastTimestamp.seconds - event.firstTimestamp.seconds == 30


async def test_repeats_that_are_not_sent_yet_are_one_create(client, recorder):
    for _ in range(4):
        recorder.event(PODS, a_pod(), WARNING, "BackOff", "again")
    await recorder.flush()
    assert [call[0] for call in client.calls] == ["create"]
    assert (await stored(client))[0].count == 4


async def test_a_backlog_is_one_call(recorder, monkeypatch, client):
    sizes = []
    create_many = client.create_many

    async def counting(resource, objs):
        sizes.append(len(objs))
        return await create_many(resource, objs)

    monkeypatch.setattr(client, "create_many", counting)
    for number in range(120):
        recorder.event(PODS, a_pod(f"p{number}"), NORMAL, "Scheduled", "ok")
    await recorder.flush()
    await recorder.flush()
    assert sizes == [100, 20]
    assert len(await stored(client)) == 120


async def test_names_differ_within_one_moment(client, recorder):
    for reason in ("A", "B", "C"):
        recorder.event(PODS, a_pod(), NORMAL, reason, "x")
    await recorder.flush()
    assert len({e.metadata.name for e in await stored(client)}) == 3


async def test_an_event_that_has_expired_begins_anew(client, recorder):
    recorder.event(PODS, a_pod(), NORMAL, "A", "x")
    await recorder.flush()
    (event,) = await stored(client)
    await client.delete(EVENTS, "ns", event.metadata.name)
    recorder.event(PODS, a_pod(), NORMAL, "A", "x")
    await recorder.flush()
    assert [e.count for e in await stored(client)] == [2]


async def test_a_server_that_is_away_is_tried_again(client, recorder, clock):
    client.inject_error("create", errors.service_unavailable("away"), times=2)
    running = asyncio.ensure_future(recorder.run())
    recorder.event(PODS, a_pod(), NORMAL, "A", "x")
    for _ in range(3):
        for _ in range(20):
            await asyncio.sleep(0)
        clock.step(event_recorder.RETRY_S)
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    assert len(await stored(client)) == 1
    assert recorder.dropped == 0


async def test_what_the_server_refuses_is_dropped(client, recorder):
    client.inject_error("create", errors.forbidden("", "events", "", "no"))
    recorder.event(PODS, a_pod(), NORMAL, "A", "x")
    await recorder.flush()
    assert await stored(client) == []
    assert recorder.dropped == 1


async def test_a_full_queue_drops_and_does_not_wait(recorder, monkeypatch):
    monkeypatch.setattr(event_recorder, "QUEUE_LIMIT", 2)
    for number in range(5):
        recorder.event(PODS, a_pod(f"p{number}"), NORMAL, "A", "x")
    assert recorder.dropped == 3


def _event(message="m", reason="R"):
    event = Event(reason=reason, message=message, type="Normal", count=1)
    event.involvedObject.name = "web"
    event.metadata.name = f"web.{message}"
    return event


def test_the_spam_filter_lets_25_pass_and_then_one_in_five_minutes():
    correlator = Correlator()
    passed = [correlator.correlate(_event(), 0.0) for _ in range(30)]
    assert [p is not None for p in passed] == [True] * 25 + [False] * 5
    assert correlator.correlate(_event(), 299.0) is None
    assert correlator.correlate(_event(), 301.0) is not None


def test_many_similar_events_become_one():
    correlator = Correlator()
    results = [correlator.correlate(_event(f"m{n}"), 0.0) for n in range(12)]
    assert [r.event.message for r in results[:9]] == [f"m{n}" for n in range(9)]
    assert [r.event.message for r in results[9:]] == [
        f"(combined from similar events): m{n}" for n in (9, 10, 11)
    ]
    assert [r.update for r in results[9:]] == [False, True, True]
    assert results[11].event.count == 3
    assert results[11].event.metadata.name == "web.m9"


def test_similar_events_far_apart_stay_single():
    correlator = Correlator()
    results = [correlator.correlate(_event(f"m{n}"), n * 601.0) for n in range(12)]
    assert not any(r.event.message.startswith("(combined") for r in results)
