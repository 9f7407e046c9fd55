"""What every Storage promises: one suite, on memory and on a real etcd."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from apiserver.storage.etcd import open_etcd
from apiserver.storage.interface import (
    Change,
    CompactedError,
    FutureVersionError,
    KeyExistsError,
    KeyNotFoundError,
    Storage,
    Value,
    VersionConflictError,
)
from apiserver.storage.memory import MemoryStorage
from apiserver.storage.resource_version import revision_of, whole
from tests.support.etcd import running_etcd

PREFIX = "/registry/pods/"
KEY = "/registry/pods/default/a"


def value(text: str) -> Value:
    return Value("v1", "Pod", text.encode())


class Subject:
    """A storage, and how to compact it."""

    def __init__(self, storage: Storage, compact: Callable[[int], Awaitable[None]]) -> None:
        self.storage = storage
        self.compact = compact


@pytest.fixture(params=["memory", "grouped", pytest.param("etcd", marks=pytest.mark.integration)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "etcd":
        async with running_etcd("--unsafe-no-fsync") as etcd, open_etcd(etcd.config) as storage:

            async def compact(version: int) -> None:
                await storage.client.compact(revision_of(version))

            yield Subject(storage, compact)
        return
    memory = MemoryStorage(group_size=1 if request.param == "memory" else 8)

    async def compact_memory(version: int) -> None:
        memory.compact(version)

    yield Subject(memory, compact_memory)


@pytest.fixture
def storage(subject: Subject) -> Storage:
    return subject.storage


async def take(storage: Storage, prefix: str, since: int, count: int) -> list[Change]:
    """The first `count` changes after `since`."""
    seen: list[Change] = []
    async with asyncio.timeout(60), aclosing(storage.watch(prefix, since)) as steps:
        async for step in steps:
            seen.extend(step.changes)
            if len(seen) >= count:
                break
    return seen


async def test_create_get_update_delete(storage: Storage) -> None:
    created = await storage.create(KEY, value("one"))
    stored = await storage.get(KEY)
    assert (stored.key, stored.value, stored.version) == (KEY, value("one"), created)
    updated = await storage.update(KEY, value("two"), created)
    assert updated > created
    assert (await storage.get(KEY)).version == updated
    deleted = await storage.delete(KEY, updated)
    assert deleted > updated
    with pytest.raises(KeyNotFoundError):
        await storage.get(KEY)


async def test_create_of_a_taken_key(storage: Storage) -> None:
    await storage.create(KEY, value("one"))
    with pytest.raises(KeyExistsError):
        await storage.create(KEY, value("two"))
    assert (await storage.get(KEY)).value == value("one")


async def test_stale_writes_lose_and_see_the_winner(storage: Storage) -> None:
    first = await storage.create(KEY, value("one"))
    second = await storage.update(KEY, value("two"), first)
    for attempt in (storage.update(KEY, value("three"), first), storage.delete(KEY, first)):
        with pytest.raises(VersionConflictError) as conflict:
            await attempt
        assert conflict.value.current is not None
        assert conflict.value.current.version == second
        assert conflict.value.current.value == value("two")


async def test_write_to_a_key_that_is_gone(storage: Storage) -> None:
    first = await storage.create(KEY, value("one"))
    await storage.delete(KEY, first)
    with pytest.raises(VersionConflictError) as conflict:
        await storage.update(KEY, value("two"), first)
    assert conflict.value.current is None


async def test_json_values_keep_their_content_type(storage: Storage) -> None:
    json = Value(
        "stable.example/v1",
        "Crane",
        b'{"apiVersion":"stable.example/v1","kind":"Crane"}',
        "application/json",
    )
    version = await storage.create("/registry/stable.example/cranes/a", json)
    stored = await storage.get("/registry/stable.example/cranes/a")
    assert (stored.value, stored.version) == (json, version)


async def test_list_in_pages_at_one_version(storage: Storage) -> None:
    for name in "abcde":
        await storage.create(f"{PREFIX}default/{name}", value(name))
    await storage.create("/registry/podsother/x", value("x"))
    page = await storage.list(PREFIX, limit=2)
    assert [s.value.raw for s in page.items] == [b"a", b"b"]
    assert page.remaining == 3
    await storage.create(f"{PREFIX}default/c2", value("late"))
    names = []
    while page.next_key:
        page = await storage.list(PREFIX, limit=2, from_key=page.next_key, version=page.version)
        names += [s.value.raw for s in page.items]
    assert names == [b"c", b"d", b"e"]
    assert page.remaining == 0
    assert len((await storage.list(PREFIX)).items) == 6


async def test_a_list_is_at_least_as_new_as_every_acknowledged_write(storage: Storage) -> None:
    version = await storage.create(KEY, value("one"))
    page = await storage.list(PREFIX)
    assert page.version >= version
    assert await storage.current_version() >= version
    later = await storage.update(KEY, value("two"), version)
    assert later > page.version


async def test_list_of_the_future(storage: Storage) -> None:
    now = await storage.current_version()
    with pytest.raises(FutureVersionError) as error:
        await storage.list(PREFIX, version=whole(revision_of(now) + 10))
    assert error.value.current == now


async def test_watch_tells_everything_in_order(storage: Storage) -> None:
    since = await storage.current_version()
    first = await storage.create(KEY, value("one"))
    second = await storage.update(KEY, value("two"), first)
    await storage.create("/registry/nodes/n", value("other prefix"))
    third = await storage.delete(KEY, second)
    assert await take(storage, PREFIX, since, 3) == [
        Change(KEY, first, value("one"), None, True),
        Change(KEY, second, value("two"), value("one"), False),
        Change(KEY, third, None, value("two"), False),
    ]


async def test_watch_that_is_open_hears_what_comes(storage: Storage) -> None:
    since = await storage.current_version()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(take(storage, PREFIX, since, 2))
        await asyncio.sleep(0)
        first = await storage.create(KEY, value("one"))
        second = await storage.update(KEY, value("two"), first)
    assert [c.version for c in watching.result()] == [first, second]


async def test_watch_resumed_after_every_event_of_concurrent_writes(storage: Storage) -> None:
    """The property that counts, in small; tests/integration/storage has it at length."""
    since = await storage.current_version()
    keys = [f"{PREFIX}default/{n}" for n in range(20)]
    versions = await asyncio.gather(*(storage.create(k, value(k)) for k in keys))
    assert len(set(versions)) == 20
    await asyncio.gather(
        *(storage.delete(k, v) for k, v in list(zip(keys, versions, strict=True))[::2]),
        *(
            storage.update(k, value("2"), v)
            for k, v in list(zip(keys, versions, strict=True))[1::2]
        ),
    )
    history = await take(storage, PREFIX, since, 40)
    assert [c.version for c in history] == sorted({c.version for c in history})
    resumed = []
    while len(resumed) < 40:
        resumed.append((await take(storage, PREFIX, since, 1))[0])
        since = resumed[-1].version
    assert resumed == history


async def test_progress_comes_when_asked_for(storage: Storage) -> None:
    since = await storage.current_version()
    async with asyncio.timeout(60), aclosing(storage.watch(PREFIX, since)) as steps:
        first = asyncio.ensure_future(anext(steps))
        await asyncio.sleep(0)
        await storage.create("/registry/nodes/n", value("elsewhere"))
        target = await storage.current_version()
        while not first.done():
            assert await storage.request_progress(PREFIX)
            await asyncio.wait([first], timeout=0.1)
        step = first.result()
    assert not step.changes
    assert step.version >= target


async def test_compaction_ends_old_lists_and_watches(subject: Subject) -> None:
    storage = subject.storage
    start = await storage.current_version()
    first = await storage.create(KEY, value("one"))
    await storage.list(PREFIX)
    second = await storage.update(KEY, value("two"), first)
    now = await storage.current_version()
    await subject.compact(second)
    with pytest.raises(CompactedError) as on_list:
        await storage.list(PREFIX, version=first)
    with pytest.raises(CompactedError) as on_watch:
        await take(storage, PREFIX, start, 1)
    assert revision_of(on_list.value.oldest) == revision_of(second)
    assert revision_of(on_watch.value.oldest) == revision_of(second)
    assert (await storage.list(PREFIX, version=now)).items[0].version == second


@pytest.mark.slow
async def test_objects_with_a_ttl_go(storage: Storage) -> None:
    since = await storage.current_version()
    keys = [f"{PREFIX}default/{n}" for n in range(5)]
    for key in keys:
        await storage.create(key, value("x"), ttl_s=1)
    async with asyncio.timeout(20):
        while (await storage.list(PREFIX)).items:
            await asyncio.sleep(0.2)
    changes = await take(storage, PREFIX, since, 10)
    assert [c.key for c in changes[5:]] == keys
    assert [c.value for c in changes[5:]] == [None] * 5
    assert len({c.version for c in changes}) == 10
