"""Storage on a real etcd: what only grouped writes, crashes and concurrency can break."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from apiserver.storage.compaction import Round, compact_once
from apiserver.storage.etcd import EtcdStorage, open_etcd
from apiserver.storage.interface import (
    Change,
    CompactedError,
    Storage,
    Value,
    VersionConflictError,
)
from apiserver.storage.resource_version import index_of, revision_of
from podpath.api import scheme
from protos.etcd import etcdserverpb_pb2 as pb
from protos.k8s.runtime_pb2 import Unknown
from tests.support.caching import collect, facts, key_of, pod_value, running_cache
from tests.support.etcd import Etcd, running_etcd

pytestmark = pytest.mark.integration

PREFIX = scheme.PODS.storage_prefix


@pytest.fixture
async def etcd() -> AsyncIterator[Etcd]:
    async with running_etcd() as running:
        yield running


@pytest.fixture
async def storage(etcd: Etcd) -> AsyncIterator[EtcdStorage]:
    async with open_etcd(etcd.config) as opened:
        yield opened


async def churn(storage: Storage, seed: int, *, writers: int, rounds: int) -> None:
    """Concurrent creates, updates and deletions of pods of their own."""

    async def one(writer: int) -> None:
        chance = random.Random(seed * 1000 + writer)
        held: dict[str, int] = {}
        for n in range(rounds):
            name = f"w{writer:02}-{chance.randrange(4)}"
            key, version = key_of(name), held.get(name)
            if version is None:
                held[name] = await storage.create(key, pod_value(name, labels={"n": str(n)}))
            elif chance.random() < 0.4:
                await storage.delete(key, version)
                del held[name]
            else:
                held[name] = await storage.update(
                    key, pod_value(name, labels={"n": str(n)}), version
                )

    await asyncio.gather(*(one(w) for w in range(writers)))


async def etcd_history(storage: EtcdStorage, first_revision: int, last_revision: int):
    """(key, kind of event, mod revision) straight from etcd, in its order."""
    stream = await storage.client.open_watch(
        pb.WatchCreateRequest(
            key=PREFIX.encode(),
            range_end=PREFIX.encode()[:-1] + b"0",
            start_revision=first_revision,
        )
    )
    await stream.create(
        pb.WatchCreateRequest(key=b"/end", start_revision=last_revision, watch_id=2)
    )
    seen = []
    try:
        while True:
            response = await stream.read()
            if response.watch_id == 2 and response.events:
                await stream.request_progress()
            elif not response.events and not response.created:
                return seen
            seen += [
                (e.kv.key.decode(), e.type, e.kv.mod_revision)
                for e in response.events
                if response.watch_id != 2
            ]
    finally:
        stream.cancel()


async def whole_history(storage: EtcdStorage, since: int):
    """All of our changes since a version, and etcd's own record of them."""
    end = await storage.client.txn(_put(b"/end"))
    revision = end.header.revision
    recorded = await etcd_history(storage, revision_of(since) + 1, revision)
    changes: list[Change] = []
    async with asyncio.timeout(20), aclosing(storage.watch(PREFIX, since)) as steps:
        async for step in steps:
            changes += step.changes
            if len(changes) >= len(recorded):
                break
    return changes, recorded


def _put(key: bytes) -> pb.TxnRequest:
    txn = pb.TxnRequest()
    txn.success.add().request_put.key = key
    return txn


async def test_a_watch_cut_at_every_event_misses_nothing_and_repeats_nothing(
    storage: EtcdStorage,
) -> None:
    since = await storage.current_version()
    await churn(storage, 1, writers=40, rounds=4)
    changes, recorded = await whole_history(storage, since)
    assert len(recorded) == 160
    assert [(c.key, c.value is None, revision_of(c.version)) for c in changes] == [
        (key, kind == 1, revision) for key, kind, revision in recorded
    ]
    versions = [c.version for c in changes]
    assert versions == sorted(set(versions))
    assert sum(index_of(v) > 0 for v in versions) > 40, "nothing was grouped: tests nothing"
    for position, cut in enumerate([since, *versions[:-1]]):
        async with asyncio.timeout(60), aclosing(storage.watch(PREFIX, cut)) as steps:
            rest: list[Change] = []
            async for step in steps:
                rest += step.changes
                if len(rest) >= len(changes) - position:
                    break
        assert rest == changes[position:]


async def test_cache_watches_cut_at_every_event_tell_etcds_history(storage: EtcdStorage) -> None:
    """The same through the cache, with live watches that end after each event."""
    async with running_cache(storage) as cache:
        since = cache.state.version
        told: list[tuple[str, str, int]] = []

        async def follow() -> None:
            """A client that takes one event, drops the connection and resumes from it."""
            at = since
            while not (told and told[-1][1] == "zz-end"):
                async with aclosing(cache.watch(resource_version=str(at))) as stream:
                    told.append(facts(await anext(stream))[0])
                at = told[-1][2]

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(follow())
            await churn(storage, 2, writers=40, rounds=6)
            await storage.create(key_of("zz-end"), pod_value("zz-end"))
        changes, recorded = await whole_history(storage, since)
    assert [(key_of(name), version) for _, name, version in told] == [
        (c.key, c.version) for c in changes
    ]
    assert len(told) == len(recorded) == 241
    kinds = [
        "DELETED" if c.value is None else "ADDED" if c.created else "MODIFIED" for c in changes
    ]
    assert [kind for kind, _, _ in told] == kinds


async def test_fifty_read_modify_write_clients_lose_no_update(storage: EtcdStorage) -> None:
    key = key_of("counter")
    await storage.create(key, Value("v1", "Pod", b"0"))
    conflicts = 0

    async def add_one() -> None:
        nonlocal conflicts
        while True:
            now = await storage.get(key)
            value = Value("v1", "Pod", str(int(now.value.raw) + 1).encode())
            try:
                await storage.update(key, value, now.version)
            except VersionConflictError:
                conflicts += 1
            else:
                return

    await asyncio.gather(*(add_one() for _ in range(50)))
    assert (await storage.get(key)).value.raw == b"50"
    assert conflicts > 0


async def test_upstream_reads_what_we_write(storage: EtcdStorage) -> None:
    names = [f"p{n}" for n in range(30)]
    await asyncio.gather(*(storage.create(key_of(n), pod_value(n)) for n in names))
    response = await storage.client.range(
        pb.RangeRequest(key=b"/registry/pods/default/", range_end=b"/registry/pods/default0")
    )
    assert len({kv.mod_revision for kv in response.kvs}) < 30
    for kv in response.kvs:
        assert kv.value[:4] == b"k8s\0"
        unknown = Unknown.FromString(kv.value[4:])
        assert (unknown.typeMeta.apiVersion, unknown.typeMeta.kind) == ("v1", "Pod")
        pod = scheme.PODS.message.FromString(unknown.raw)
        assert kv.key.decode() == key_of(pod.metadata.name)
        assert not pod.metadata.resourceVersion


async def test_kill_9_loses_no_acknowledged_write(etcd: Etcd) -> None:
    """Writers go on through two crashes; each outcome is told truly and the watch stays whole."""
    async with (
        open_etcd(etcd.config) as storage,
        running_cache(storage, history_limit=1_000_000) as cache,
    ):
        since = cache.state.version
        acknowledged: dict[str, int] = {}
        stop = asyncio.Event()

        async def write(writer: int) -> None:
            n = 0
            while not stop.is_set():
                name = f"w{writer:02}-{n}"
                acknowledged[name] = await storage.create(key_of(name), pod_value(name))
                if n % 3 == 0:
                    acknowledged[name] = await storage.update(
                        key_of(name), pod_value(name, node="n"), acknowledged[name]
                    )
                n += 1

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for writer in range(30):
                tasks.create_task(write(writer))
            for _ in range(2):
                await asyncio.sleep(0.5)
                await etcd.restart(down_s=0.3)
            await asyncio.sleep(0.5)
            stop.set()
        page = await storage.list(PREFIX)
        assert {s.key: s.version for s in page.items} == {
            key_of(name): version for name, version in acknowledged.items()
        }
        await cache.wait_newest()
        assert {v.object.metadata.name: v.version for v in cache.list()} == acknowledged
        changes, recorded = await whole_history(storage, since)
        assert [(c.key, revision_of(c.version)) for c in changes] == [
            (key, revision) for key, _, revision in recorded
        ]
        told = await collect(cache.watch(resource_version=str(since)), len(changes))
        assert [version for _, _, version in told] == [c.version for c in changes]


async def test_a_lost_answer_is_looked_up(storage: EtcdStorage) -> None:
    """The first answer of every write is thrown away after etcd carried it out."""
    send = storage.client.txn
    lost: list[int] = []

    async def txn(request: pb.TxnRequest) -> pb.TxnResponse:
        response = await send(request)
        if len(lost) < 4:
            from grpc import StatusCode

            from apiserver.storage.etcd_client import EtcdError

            lost.append(response.header.revision)
            raise EtcdError(StatusCode.UNAVAILABLE, "lost")
        return response

    storage.client.txn = txn  # type: ignore[method-assign]
    names = [f"p{n}" for n in range(10)]
    made = await asyncio.gather(*(storage.create(key_of(n), pod_value(n)) for n in names))
    assert len(lost) == 4
    stored = {s.key: s.version for s in (await storage.list(PREFIX)).items}
    assert stored == {key_of(n): v for n, v in zip(names, made, strict=True)}
    lost.clear()
    updated = await storage.update(key_of("p0"), pod_value("p0", node="n"), made[0])
    assert (await storage.get(key_of("p0"))).version == updated
    lost.clear()
    deleted = await storage.delete(key_of("p1"), made[1])
    assert deleted > updated
    lost.clear()
    with pytest.raises(VersionConflictError):
        await storage.update(key_of("p0"), pod_value("p0"), made[0])
    lost.clear()
    with pytest.raises(VersionConflictError):
        await storage.delete(key_of("p0"), made[0])


async def test_compaction_expires_lists_and_watches(storage: EtcdStorage) -> None:
    start = await storage.current_version()
    version = await storage.create(key_of("a"), pod_value("a"))
    state = await compact_once(storage.client, Round())
    version = await storage.update(key_of("a"), pod_value("a", node="n"), version)
    state = await compact_once(storage.client, state)
    with pytest.raises(CompactedError):
        await storage.list(PREFIX, version=start)
    with pytest.raises(CompactedError):
        async with aclosing(storage.watch(PREFIX, start)) as steps:
            await anext(steps)
    other = await compact_once(storage.client, Round())
    assert other.key_version == state.key_version
    assert other.revision == state.revision
    assert (await storage.get(key_of("a"))).version == version


async def test_a_lease_ends_for_many_objects_and_a_watch_can_be_cut_between(
    storage: EtcdStorage,
) -> None:
    since = await storage.current_version()
    names = [f"p{n:02}" for n in range(20)]
    for name in names:
        await storage.create(key_of(name), pod_value(name), ttl_s=1)
    changes: list[Change] = []
    while len(changes) < 40:
        async with asyncio.timeout(20), aclosing(storage.watch(PREFIX, since)) as steps:
            step = await anext(steps)
            changes += step.changes[:1]
            since = changes[-1].version if step.changes else step.version
    assert [c.key for c in changes[20:]] == [key_of(n) for n in names]
    assert len({revision_of(c.version) for c in changes[20:]}) < 20, "etcd deletes them together"
    assert all(c.value is None for c in changes[20:])
