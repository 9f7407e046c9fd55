import asyncio
import random

import pytest

from podpath.api import errors
from podpath.api.scheme import PODS
from podpath.client.informer import (
    Handlers,
    Informer,
    InformerFactory,
    ObjectKey,
    by_controller_uid,
    by_owner_uid,
)
from podpath.client.interface import EventType, ObjectList, Selection, WatchEvent
from podpath.component_base.clock import FakeClock
from protos.k8s.core_v1_pb2 import Pod


def pod(name, version, uid="", namespace="ns", owner=""):
    result = Pod()
    meta = result.metadata
    meta.name, meta.namespace, meta.resourceVersion = name, namespace, str(version)
    meta.uid = uid or f"uid-{name}"
    if owner:
        meta.ownerReferences.add(kind="X", name="x", uid=owner, apiVersion="v1", controller=True)
    return result


def added(obj):
    return WatchEvent(EventType.ADDED, obj)


def modified(obj):
    return WatchEvent(EventType.MODIFIED, obj)


def deleted(obj):
    return WatchEvent(EventType.DELETED, obj)


def bookmark(version, end=False):
    obj = Pod()
    obj.metadata.resourceVersion = str(version)
    if end:
        obj.metadata.annotations["k8s.io/initial-events-end"] = "true"
    return WatchEvent(EventType.BOOKMARK, obj)


class ScriptedReader:
    """Plays lists and watches from scripts; a watch script ends with an error, or hangs."""

    def __init__(self, lists=(), watches=()):
        self.lists = list(lists)
        self.watches = list(watches)
        self.asked = []

    async def list(self, resource, selection, *, limit=0, continue_token="", **_):
        self.asked.append(("list", continue_token))
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(self, resource, selection, *, resource_version="", send_initial_events=False):
        self.asked.append(("watch", resource_version, send_initial_events))
        if not self.watches:
            await asyncio.Event().wait()
        for step in self.watches.pop(0):
            if isinstance(step, Exception):
                raise step
            if step == "hang":
                await asyncio.Event().wait()
            yield step


class Recorder:
    def __init__(self):
        self.calls = []
        self.batches = []
        self.handlers = Handlers(
            lambda obj: self.calls.append(("add", obj.metadata.name)),
            lambda old, new: self.calls.append(
                ("update", old.metadata.resourceVersion, new.metadata.resourceVersion)
            ),
            lambda obj: self.calls.append(("delete", obj.metadata.name, obj.metadata.uid)),
            lambda changes: self.batches.append(len(changes)),
        )


async def _settle():
    for _ in range(20):
        await asyncio.sleep(0)


def make(reader, **options):
    clock = FakeClock()
    informer = Informer(reader, PODS, clock=clock, rng=random.Random(1), **options)
    recorder = Recorder()
    informer.add_handlers(recorder.handlers)
    return informer, recorder, clock


@pytest.fixture
def run():
    tasks = []

    async def start(informer):
        tasks.append(asyncio.ensure_future(informer.run()))
        await _settle()

    yield start
    for task in tasks:
        task.cancel()


async def test_lists_in_pages_then_watches(run):
    reader = ScriptedReader(
        [ObjectList([pod("a", 1)], "7", "next"), ObjectList([pod("b", 2)], "7")],
        [[[added(pod("c", 8)), modified(pod("a", 9))], [deleted(pod("b", 10))], "hang"]],
    )
    informer, recorder, _ = make(reader)
    assert not informer.has_synced
    await run(informer)
    assert informer.has_synced
    assert reader.asked == [("list", ""), ("list", "next"), ("watch", "7", False)]
    assert recorder.calls == [
        ("add", "a"),
        ("add", "b"),
        ("add", "c"),
        ("update", "1", "9"),
        ("delete", "b", "uid-b"),
    ]
    assert recorder.batches == [2, 2, 1]
    assert sorted(o.metadata.name for o in informer.store.list()) == ["a", "c"]
    assert informer.resource_version == "10"


async def test_bookmarks_advance_the_version_and_tell_nobody(run):
    lost = errors.service_unavailable("lost")
    reader = ScriptedReader([ObjectList([], "5")], [[[bookmark(40)], lost]])
    informer, recorder, clock = make(reader)
    await run(informer)
    assert recorder.calls == []
    clock.step(2)
    await _settle()
    assert reader.asked[-1] == ("watch", "40", False)


async def test_expired_relists_and_tells_the_difference(run):
    reader = ScriptedReader(
        [
            ObjectList([pod("same", 1), pod("gone", 2), pod("changed", 3), pod("again", 4)], "5"),
            ObjectList(
                [pod("same", 1), pod("changed", 9), pod("new", 8), pod("again", 7, uid="other")],
                "10",
            ),
        ],
        [[errors.expired("too old")]],
    )
    informer, recorder, _ = make(reader)
    await run(informer)
    assert recorder.calls[4:] == [
        ("delete", "gone", "uid-gone"),
        ("update", "3", "9"),
        ("add", "new"),
        ("delete", "again", "uid-again"),
        ("add", "again"),
    ]
    assert reader.asked[-1] == ("watch", "10", False)


async def test_a_stream_of_initial_events_is_one_replacement(run):
    reader = ScriptedReader(
        watches=[
            [
                [added(pod("a", 1))],
                [added(pod("b", 2)), bookmark(6, end=True), added(pod("c", 7))],
                "hang",
            ]
        ]
    )
    informer, recorder, _ = make(reader, stream_initial=True)
    await run(informer)
    assert reader.asked == [("watch", "", True)]
    assert recorder.batches == [2, 1]
    assert informer.has_synced
    assert informer.resource_version == "7"


async def test_errors_back_off_exponentially_with_jitter(run):
    down = errors.service_unavailable("down")
    reader = ScriptedReader([down, down, down, ObjectList([], "1")])
    informer, _, clock = make(reader)
    await run(informer)
    rng = random.Random(1)
    for base in (0.8, 1.6, 3.2):
        asked = len(reader.asked)
        delay = base * (1 + rng.random())
        clock.step(delay - 0.001)
        await _settle()
        assert len(reader.asked) == asked
        clock.step(0.002)
        await _settle()
        assert len(reader.asked) > asked
    assert informer.has_synced


async def test_a_watch_that_ends_is_resumed_from_the_last_version(run):
    reader = ScriptedReader([ObjectList([], "1")], [[[added(pod("a", 3))]], ["hang"]])
    informer, _, _ = make(reader)
    await run(informer)
    assert reader.asked[-1] == ("watch", "3", False)


async def test_a_watch_that_ends_at_once_backs_off(run):
    reader = ScriptedReader([ObjectList([], "1")], [[], ["hang"]])
    informer, _, clock = make(reader)
    await run(informer)
    assert len(reader.asked) == 2
    clock.step(2)
    await _settle()
    assert len(reader.asked) == 3


async def test_a_failing_handler_does_not_stop_the_others(run, caplog):
    reader = ScriptedReader([ObjectList([pod("a", 1), pod("b", 2)], "2")])
    informer, recorder, _ = make(reader)

    def fail(obj):
        raise RuntimeError(obj.metadata.name)

    informer.add_handlers(Handlers(on_add=fail))
    late = Recorder()
    informer.add_handlers(late.handlers)
    await run(informer)
    assert late.calls == recorder.calls == [("add", "a"), ("add", "b")]
    assert caplog.text.count("informer handler failed") == 2


async def test_late_handlers_are_told_what_is_there(run):
    informer, _, _ = make(ScriptedReader([ObjectList([pod("a", 1)], "2")]))
    await run(informer)
    late = Recorder()
    informer.add_handlers(late.handlers)
    assert late.calls == [("add", "a")]


async def test_indexes_follow_changes():
    informer, _, _ = make(ScriptedReader())
    store = informer.store
    store.put(ObjectKey("ns", "a"), pod("a", 1, owner="o1"))
    store.add_index("controller", by_controller_uid)
    store.add_index("controller", by_controller_uid)
    store.add_index("owners", by_owner_uid)
    assert [o.metadata.name for o in store.by_index("controller", "o1")] == ["a"]
    store.put(ObjectKey("ns", "a"), pod("a", 2, owner="o2"))
    assert store.by_index("controller", "o1") == []
    assert len(store.by_index("owners", "o2")) == 1
    store.remove(ObjectKey("ns", "a"))
    assert store.by_index("owners", "o2") == []
    assert store.list("ns") == []
    with pytest.raises(ValueError, match="another function"):
        store.add_index("owners", by_controller_uid)


async def test_the_factory_shares_and_starts_late_comers(run):
    reader = ScriptedReader([ObjectList([], "1"), ObjectList([], "1")])
    factory = InformerFactory(reader, clock=FakeClock(), rng=random.Random(1))
    informer = factory.informer(PODS)
    assert factory.informer(PODS) is informer
    await run(factory)
    assert factory.has_synced

    other = factory.informer(PODS, Selection(namespace="x"))
    assert other is not informer
    await _settle()
    assert other.has_synced
