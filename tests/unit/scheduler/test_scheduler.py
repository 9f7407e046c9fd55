"""The whole scheduler over an in-memory API server."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from podpath.api import errors, scheme
from podpath.client.event_recorder import EventRecorder
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import FakeClock, SystemClock
from protos.k8s.core_v1_pb2 import Node, Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions
from scheduler.config import Config
from scheduler.failures import shortened
from scheduler.framework.status import FitError, unresolvable, unschedulable
from scheduler.plugins.registry import default_framework
from scheduler.pod_info import PodInfo
from scheduler.pod_status import Condition, StatusWriter
from scheduler.schedule_one import feasible_nodes_wanted
from scheduler.scheduler import Scheduler


def node(name, cpu="4", **spec) -> Node:
    built = Node(spec=spec)
    built.metadata.name = name
    for resource, amount in {"cpu": cpu, "memory": "8Gi", "pods": "110"}.items():
        built.status.allocatable[resource].string = amount
    return built


def pod(name, cpu="100m", scheduler_name="default-scheduler", **spec) -> Pod:
    built = Pod(spec={"schedulerName": scheduler_name, **spec})
    built.metadata.name = name
    built.metadata.namespace = "default"
    built.spec.containers.add(name="c").resources.requests["cpu"].string = cpu
    return built


@asynccontextmanager
async def running(client):
    clock = SystemClock()
    recorder = EventRecorder(client, "default-scheduler", clock=clock)
    scheduler = Scheduler(
        client,
        lambda handle: {"default-scheduler": default_framework(handle)},
        Config(kubeconfig="", pod_initial_backoff_seconds=0.05),
        clock=clock,
        rng=random.Random(7),
        recorder=recorder,
    )
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(work)
            for work in (recorder.run(), scheduler.watch(), scheduler.lead())
        ]
        try:
            yield scheduler
        finally:
            for task in running:
                task.cancel()


async def eventually(condition, timeout_s=60.0):
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):
            await asyncio.sleep(0.01)
        return found


async def bound(client, count):
    items = (await client.list(scheme.PODS)).items
    placed = {p.metadata.name: p.spec.nodeName for p in items if p.spec.nodeName}
    return placed if len(placed) == count else None


async def test_pods_spread_over_the_emptier_nodes_and_no_node_is_overcommitted():
    client = MemoryClient()
    for i in range(4):
        await client.create(scheme.NODES, node(f"n{i}", cpu="1"))
    for i in range(8):
        await client.create(scheme.PODS, pod(f"p{i}", cpu="500m"))
    async with running(client):
        placed = await eventually(lambda: bound(client, 8))
    assert sorted(placed.values()) == ["n0", "n0", "n1", "n1", "n2", "n2", "n3", "n3"]


async def test_what_does_not_fit_is_told_and_goes_when_a_node_comes():
    client = MemoryClient()
    await client.create(scheme.NODES, node("small", cpu="1"))
    await client.create(scheme.NODES, node("closed", unschedulable=True))
    async with running(client):
        await client.create(scheme.PODS, pod("big", cpu="3"))

        async def told():
            found = await client.get(scheme.PODS, "default", "big")
            return next((c for c in found.status.conditions if c.type == "PodScheduled"), None)

        condition = await eventually(told)
        assert (condition.status, condition.reason) == ("False", "Unschedulable")
        assert condition.message == (
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. "
            "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        )

        async def event():
            listed = (await client.list(scheme.EVENTS)).items
            return [e for e in listed if e.reason == "FailedScheduling"]

        assert (await eventually(event))[0].message == condition.message
        await client.create(scheme.NODES, node("large"))
        assert await eventually(lambda: bound(client, 1)) == {"big": "large"}

        async def scheduled():
            listed = (await client.list(scheme.EVENTS)).items
            return [e.message for e in listed if e.reason == "Scheduled"]

        assert await eventually(scheduled) == ["Successfully assigned default/big to large"]


async def test_a_deleted_pod_makes_room():
    client = MemoryClient()
    await client.create(scheme.NODES, node("n", cpu="1"))
    first = await client.create(scheme.PODS, pod("first", cpu="1"))
    async with running(client):
        await eventually(lambda: bound(client, 1))
        await client.create(scheme.PODS, pod("second", cpu="1"))
        await client.delete(
            scheme.PODS, "default", first.metadata.name, DeleteOptions(gracePeriodSeconds=0)
        )
        await eventually(lambda: _is_placed(client, "second"))


async def _is_placed(client, name):
    return (await client.get(scheme.PODS, "default", name)).spec.nodeName


async def test_another_schedulers_pods_are_left_alone():
    client = MemoryClient()
    await client.create(scheme.NODES, node("n"))
    await client.create(scheme.PODS, pod("theirs", scheduler_name="other"))
    await client.create(scheme.PODS, pod("ours"))
    async with running(client):
        await eventually(lambda: _is_placed(client, "ours"))
        assert not await _is_placed(client, "theirs")


async def test_a_failed_binding_is_tried_again_and_frees_what_was_assumed():
    client = MemoryClient()
    client.inject_error("bind", errors.service_unavailable("gone for a moment"))
    await client.create(scheme.NODES, node("n", cpu="1"))
    await client.create(scheme.PODS, pod("p", cpu="1"))
    async with running(client):
        assert await eventually(lambda: bound(client, 1)) == {"p": "n"}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(FitError(0, {}), "no nodes available to schedule pods", id="no nodes"),
        pytest.param(
            FitError(
                3,
                {
                    "a": unschedulable("F", "Insufficient cpu", "Too many pods"),
                    "b": unschedulable("F", "Insufficient cpu"),
                    "c": unresolvable("T", "node(s) had untolerated taint {k: v}"),
                },
            ),
            "0/3 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint {k: v}, "
            "2 Insufficient cpu.",
            id="counted and sorted",
        ),
        pytest.param(
            FitError(2, {}, pre_filter=unresolvable("V", "no such claim")),
            "0/2 nodes are available: no such claim.",
            id="before any node was looked at",
        ),
    ],
)
def test_fit_error_reads_as_upstreams(error, text):
    assert str(error) == text


@pytest.mark.parametrize(
    ("nodes", "percentage", "wanted"),
    [(10, 0, 10), (100, 0, 100), (1000, 0, 420), (6000, 0, 300), (1000, 5, 100), (5000, 100, 5000)],
)
def test_how_many_feasible_nodes_are_enough(nodes, percentage, wanted):
    assert feasible_nodes_wanted(nodes, percentage) == wanted


async def told(client, name):
    found = await client.get(scheme.PODS, "default", name)
    return next((c for c in found.status.conditions if c.type == "PodScheduled"), None)


async def test_another_reason_is_no_transition():
    client = MemoryClient()
    clock = FakeClock()
    writer = StatusWriter(client, clock)
    created = await client.create(scheme.PODS, pod("p"))
    writing = asyncio.ensure_future(writer.run())
    for reason in ("first", "second"):
        writer.submit(Condition(PodInfo(created), "Unschedulable", reason))
        async with asyncio.timeout(60):
            while (condition := await told(client, "p")) is None or condition.message != reason:
                await asyncio.sleep(0)
        created = await client.get(scheme.PODS, "default", "p")
        clock.step(100)
    writing.cancel()
    assert condition.lastTransitionTime.seconds == int(FakeClock().now().timestamp())


async def test_events_are_told_by_the_pods_own_scheduler():
    client = MemoryClient()
    await client.create(scheme.NODES, node("n"))
    async with running(client):
        await client.create(scheme.PODS, pod("p"))

        async def events():
            return (await client.list(scheme.EVENTS)).items

        (event,) = await eventually(events)
    assert (event.reason, event.source.component) == ("Scheduled", "default-scheduler")


def test_a_long_message_is_cut_for_its_event():
    assert shortened("x" * 1024) == "x" * 1024
    assert shortened("x" * 1025) == "x" * 1020 + " ..."
