"""The watch cache over the storage in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from apiserver.storage import watchers
from apiserver.storage.interface import StorageUnavailableError
from apiserver.storage.memory import MemoryStorage
from apiserver.storage.resource_version import revision_of, whole
from apiserver.storage.watch_cache import WatchCache
from apiserver.storage.watchers import Filter
from podpath.api.errors import ApiError
from podpath.component_base.clock import FakeClock
from tests.support.caching import collect, facts, key_of, pod_value, running_cache


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage(group_size=8)


@pytest.fixture
async def cache(storage: MemoryStorage) -> AsyncIterator[WatchCache]:
    async with running_cache(storage, history_limit=100) as running:
        yield running


def labelled(**wanted: str) -> Filter:
    return Filter(
        matches=lambda v: all(v.object.metadata.labels.get(k) == w for k, w in wanted.items())
    )


def on_node(node: str) -> Filter:
    return Filter(
        matches=lambda v: v.object.spec.nodeName == node, exact_fields={"spec.nodeName": node}
    )


async def test_a_watch_without_version_starts_with_the_present(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    a = await storage.create(key_of("a"), pod_value("a"))
    stream = cache.watch()
    first = facts(await anext(stream))
    b = await storage.create(key_of("b"), pod_value("b"))
    assert first == [("ADDED", "a", a)]
    assert await collect(stream, 1) == [("ADDED", "b", b)]


async def test_a_watch_from_a_version_tells_what_came_after(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    a = await storage.create(key_of("a"), pod_value("a"))
    b = await storage.create(key_of("b"), pod_value("b"))
    a2 = await storage.update(key_of("a"), pod_value("a", node="n"), a)
    gone = await storage.delete(key_of("b"), b)
    await cache.wait_newest()
    events = await collect(cache.watch(resource_version=str(a)), 3)
    assert events == [("ADDED", "b", b), ("MODIFIED", "a", a2), ("DELETED", "b", gone)]


async def test_initial_events_end_with_an_annotated_bookmark(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    await storage.create(key_of("a"), pod_value("a"))
    async with aclosing(cache.watch(send_initial_events=True, bookmarks=True)) as stream:
        assert [e.type for e in await anext(stream)] == ["ADDED"]
        (end,) = await anext(stream)
    assert end.type == "BOOKMARK"
    meta = end.version.object.metadata
    assert dict(meta.annotations) == {"k8s.io/initial-events-end": "true"}
    assert int(meta.resourceVersion) == whole(revision_of(cache.state.version))
    assert not meta.name


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param({"app": "x"}, {"app": "x", "v": "2"}, "MODIFIED", id="still matches"),
        pytest.param({"app": "y"}, {"app": "x"}, "ADDED", id="comes to match"),
        pytest.param({"app": "x"}, {"app": "y"}, "DELETED", id="no longer matches"),
        pytest.param({"app": "y"}, {"app": "z"}, None, id="never matched"),
    ],
)
async def test_selector_transitions(
    storage: MemoryStorage,
    cache: WatchCache,
    before: dict[str, str],
    after: dict[str, str],
    told: str | None,
) -> None:
    first = await storage.create(key_of("a"), pod_value("a", labels=before))
    await cache.wait_newest()
    async with aclosing(
        cache.watch(labelled(app="x"), resource_version=str(cache.state.version))
    ) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        second = await storage.update(key_of("a"), pod_value("a", labels=after), first)
        last = await storage.create(key_of("end"), pod_value("end", labels={"app": "x"}))
        events = list(await waiting)
        while events[-1].version.object.metadata.name != "end":
            events += await anext(stream)
    expected = [(told, "a", second)] if told else []
    assert facts(events) == [*expected, ("ADDED", "end", last)]
    if told == "DELETED":  # the last state that the watcher knew, at the change's version
        assert dict(events[0].version.object.metadata.labels) == before


async def test_node_watchers_are_asked_only_about_their_node(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    asked: list[str] = []

    def counting(node: str) -> Filter:
        def matches(version: object) -> bool:
            asked.append(node)
            return version.object.spec.nodeName == node  # type: ignore[attr-defined]

        return Filter(matches=matches, exact_fields={"spec.nodeName": node})

    start = str(await storage.current_version())
    streams = [cache.watch(counting(f"n{i}"), resource_version=start) for i in range(20)]
    async with asyncio.TaskGroup() as tasks:
        mine = tasks.create_task(collect(streams[3], 2))
        others = [asyncio.ensure_future(anext(s)) for s in streams if s is not streams[3]]
        await asyncio.sleep(0.01)
        a = await storage.create(key_of("a"), pod_value("a"))
        bound = await storage.update(key_of("a"), pod_value("a", node="n3"), a)
        gone = await storage.delete(key_of("a"), bound)
    assert mine.result() == [("ADDED", "a", bound), ("DELETED", "a", gone)]
    assert set(asked) == {"n3"}
    for other in others:
        assert not other.done()
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def test_namespaces_are_apart(storage: MemoryStorage, cache: WatchCache) -> None:
    start = str(await storage.current_version())
    await storage.create(key_of("a", "other"), pod_value("a", "other"))
    b = await storage.create(key_of("b", "mine"), pod_value("b", "mine"))
    events = await collect(cache.watch(Filter(namespace="mine"), resource_version=start), 1)
    assert events == [("ADDED", "b", b)]
    assert [v.object.metadata.name for v in cache.list("mine")] == ["b"]
    assert cache.get("other", "a") is not None
    assert cache.get("mine", "a") is None


async def test_one_event_is_one_object_for_all(storage: MemoryStorage, cache: WatchCache) -> None:
    streams = [cache.watch(resource_version=str(await storage.current_version())) for _ in "ab"]
    waiting = [asyncio.ensure_future(anext(s)) for s in streams]
    await asyncio.sleep(0.01)
    await storage.create(key_of("a"), pod_value("a"))
    (one,), (two,) = await asyncio.gather(*waiting)
    assert one is two
    assert one.version.unknown_bytes is two.version.unknown_bytes
    assert one.version.json_bytes is two.version.json_bytes


async def test_an_old_version_is_expired(storage: MemoryStorage, cache: WatchCache) -> None:
    start = await storage.current_version()
    version = await storage.create(key_of("a"), pod_value("a"))
    for _ in range(300):
        version = await storage.update(key_of("a"), pod_value("a"), version)
    await cache.wait_newest()
    with pytest.raises(ApiError) as error:
        await anext(cache.watch(resource_version=str(start)))
    assert (error.value.reason, error.value.code) == ("Expired", 410)
    assert str(error.value) == f"too old resource version: {start} ({cache.state.oldest})"
    assert await collect(cache.watch(resource_version=str(cache.state.oldest)), 100)


async def test_a_slow_watcher_is_cut_and_the_others_go_on(
    storage: MemoryStorage, cache: WatchCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers.Watcher.__init__, "__kwdefaults__", {"buffer_limit": 10})
    start = await storage.current_version()
    slow, fast = (cache.watch(resource_version=str(start)) for _ in "ab")
    got = [asyncio.ensure_future(anext(slow)), asyncio.ensure_future(anext(fast))]
    await asyncio.sleep(0.01)
    seen = 0
    for n in range(40):
        await storage.create(key_of(f"p{n:02}"), pod_value(f"p{n:02}"))
        if n % 5 == 4:
            await cache.wait_newest()
            seen += len(await (got[1] if n == 4 else anext(fast)))
    assert seen == 40
    received = list(await got[0])
    async for batch in slow:
        received += batch
    names = [e.version.object.metadata.name for e in received]
    assert names == [f"p{n:02}" for n in range(len(names))]
    assert len(names) < 40
    resumed = received[-1].version.object.metadata.resourceVersion
    rest = await collect(cache.watch(resource_version=resumed), 40 - len(names))
    assert [name for _, name, _ in rest] == [f"p{n:02}" for n in range(len(names), 40)]
    await fast.aclose()  # type: ignore[attr-defined]


async def test_a_failing_predicate_ends_only_its_own_watch(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    def broken(_: object) -> bool:
        raise ValueError("broken")

    start = str(await storage.current_version())
    bad = cache.watch(Filter(matches=broken), resource_version=start)
    good = cache.watch(resource_version=start)
    ended = asyncio.ensure_future(anext(bad, None))
    told = asyncio.ensure_future(anext(good))
    await asyncio.sleep(0.01)
    await storage.create(key_of("a"), pod_value("a"))
    assert await ended is None
    assert len(await told) == 1
    await good.aclose()  # type: ignore[attr-defined]


async def test_a_version_of_the_future_times_out(
    cache: WatchCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apiserver.storage.watch_cache.WAIT_S", 0.05)
    current = cache.state.version
    with pytest.raises(ApiError) as error:
        await cache.wait_until(current + 1000)
    status = error.value.status
    assert (status.reason, status.code) == ("Timeout", 504)
    assert f"Too large resource version: {current + 1000}, current: {current}" in status.message
    assert [c.reason for c in status.details.causes] == ["ResourceVersionTooLarge"]


async def test_compaction_makes_the_cache_list_again(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    """A watch that falls behind compaction ends the watchers; the cache lists and goes on."""
    changes: list[tuple[bool, bool]] = []
    cache.subscribe(lambda old, new: changes.append((old is not None, new is not None)))
    a = await storage.create(key_of("a"), pod_value("a"))
    stream = cache.watch(send_initial_events=True)
    assert facts(await anext(stream)) == [("ADDED", "a", a)]
    await anext(stream)
    storage.expire_watches()
    assert await anext(stream, None) is None
    b = await storage.create(key_of("b"), pod_value("b"))
    await cache.wait_newest()
    assert [v.version for v in cache.list()] == [a, b]
    with pytest.raises(ApiError, match="too old resource version"):
        await anext(cache.watch(resource_version=str(a)))
    assert changes == [(False, True), (False, True)]


async def test_bookmarks_and_the_deadline() -> None:
    clock = FakeClock()
    storage = MemoryStorage(clock)
    async with running_cache(storage, clock=clock) as cache:
        start = str(await storage.current_version())
        stream = cache.watch(resource_version=start, bookmarks=True, timeout_s=100)
        batches = [asyncio.ensure_future(anext(stream, None))]
        await asyncio.sleep(0)
        received = []
        for now in range(102):
            cache.tick(float(now))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if batches[-1].done() and batches[-1].result() is not None:
                received.append((now, [e.type for e in batches[-1].result()]))
                batches.append(asyncio.ensure_future(anext(stream, None)))
                await asyncio.sleep(0)
        assert received == [(60, ["BOOKMARK"]), (98, ["BOOKMARK"])]
        assert await batches[-1] is None


async def test_no_bookmarks_for_who_did_not_ask() -> None:
    clock = FakeClock()
    storage = MemoryStorage(clock)
    async with running_cache(storage, clock=clock) as cache:
        stream = cache.watch(resource_version=str(await storage.current_version()), timeout_s=100)
        first = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        for now in range(102):
            cache.tick(float(now))
        assert await first is None


async def test_an_object_just_written_is_not_decoded_again(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    from apiserver.storage.version import ObjectVersion
    from podpath.api import scheme

    value = pod_value("a")
    version = await storage.create(key_of("a"), value)
    pod = scheme.PODS.message.FromString(value.raw)
    pod.metadata.resourceVersion = str(version)
    written = ObjectVersion(scheme.PODS, pod)
    cache.wrote(written)
    await cache.wait_newest()
    assert cache.get("default", "a") is written


async def test_a_watch_of_the_newest_while_storage_is_away(
    storage: MemoryStorage, cache: WatchCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> int:
        raise StorageUnavailableError("away")

    monkeypatch.setattr(storage, "current_version", away)
    with pytest.raises(ApiError) as error:
        await anext(cache.watch())
    assert (error.value.reason, error.value.code) == ("ServerTimeout", 500)


async def test_consistent_reads_do_not_wait_for_a_period(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    """Each asks for progress by itself; at 100 ms a piece this would take a minute."""
    async with asyncio.timeout(20):
        for n in range(600):
            await storage.create(f"/registry/nodes/n{n}", pod_value("elsewhere"))
            await cache.wait_newest()
