"""Storage in etcd: upstream's keys and envelopes, podpath's versions (ADR 0001).

Writes go through `group_commit.py`; reads are linearizable Ranges; a watch is a stream that is
reopened where it broke off.

Source: k8s.io/apiserver pkg/storage/etcd3/store.go, watcher.go.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from apiserver.storage.coalesce import Coalesced
from apiserver.storage.etcd_client import (
    RETRY_DELAY_S,
    EtcdClient,
    EtcdConfig,
    EtcdError,
    WatchStream,
)
from apiserver.storage.etcd_events import EventReader
from apiserver.storage.group_commit import GroupCommit
from apiserver.storage.interface import (
    Changes,
    CompactedError,
    FutureVersionError,
    KeyNotFoundError,
    Page,
    Stored,
    Value,
)
from apiserver.storage.keys import prefix_end, successor
from apiserver.storage.leases import LeaseManager
from apiserver.storage.resource_version import compose, revision_of, watch_from, whole
from apiserver.storage.write import to_stored
from podpath.component_base.clock import Clock, SystemClock
from protos.etcd import etcdserverpb_pb2 as pb

_LOG = logging.getLogger(__name__)

_RANGE_LIMIT = (
    2000  # keys that one Range answers; longer lists are read in several, at one revision
)
_OLDEST_TIMEOUT_S = 5.0
_PROBE_KEY = b"compact_rev_key"  # any single key: a Range of it tells the newest revision


def progress_is_safe(etcd_version: str) -> bool:
    """False where RequestProgress may overtake events (etcd #15220): before 3.4.31 and 3.5.13."""
    parts = etcd_version.split("-")[0].split(".")
    numbers = tuple(int(part) for part in parts)
    return numbers >= (3, 5, 13) or (3, 4, 31) <= numbers < (3, 5)


class EtcdStorage:
    """Implements `apiserver.storage.interface.Storage`. Made by `open_etcd`."""

    def __init__(
        self,
        client: EtcdClient,
        commits: GroupCommit,
        leases: LeaseManager,
        clock: Clock,
        *,
        progress_safe: bool,
    ) -> None:
        self.client = client
        self._commits = commits
        self._leases = leases
        self._clock = clock
        self._progress_safe = progress_safe
        self._streams: dict[str, set[WatchStream]] = {}
        self._newest = Coalesced(self._read_newest)

    async def get(self, key: str) -> Stored:
        response = await self.client.range(pb.RangeRequest(key=key.encode()))
        if not response.kvs:
            raise KeyNotFoundError(key)
        return to_stored(response.kvs[0])

    async def list(
        self, prefix: str, *, limit: int = 0, from_key: str = "", version: int = 0
    ) -> Page:
        start = from_key or prefix
        revision = revision_of(version)
        items: list[Stored] = []
        while True:
            wanted = min(limit - len(items), _RANGE_LIMIT) if limit else _RANGE_LIMIT
            response = await self._range(prefix, start, wanted, revision)
            revision = revision or response.header.revision
            items.extend(map(to_stored, response.kvs))
            if not response.more:
                return Page(items, whole(revision))
            start = successor(items[-1].key)
            if len(items) == limit:
                remaining = response.count - len(response.kvs)
                return Page(items, whole(revision), start, remaining)

    async def create(self, key: str, value: Value, *, ttl_s: int = 0) -> int:
        return await self._write(key, value, 0, ttl_s)

    async def update(self, key: str, value: Value, expected: int, *, ttl_s: int = 0) -> int:
        return await self._write(key, value, revision_of(expected), ttl_s)

    async def delete(self, key: str, expected: int) -> int:
        return await self._commits.submit(key, None, revision_of(expected))

    async def current_version(self) -> int:
        return await self._newest()

    async def request_progress(self, prefix: str) -> bool:
        if not self._progress_safe:
            return False
        for stream in tuple(self._streams.get(prefix, ())):
            try:
                await stream.request_progress()
            except EtcdError:
                _LOG.debug("progress asked of a broken stream", extra={"prefix": prefix})
        return True

    async def watch(
        self, prefix: str, since: int, *, with_previous: bool = True
    ) -> AsyncIterator[Changes]:
        while True:
            try:
                stream = await self._open(prefix, since, with_previous)
            except EtcdError as error:
                _LOG.warning("a watch cannot be opened: %s", error, extra={"prefix": prefix})
                await self._clock.sleep(RETRY_DELAY_S)
                continue
            events = EventReader(since)
            streams = self._streams.setdefault(prefix, set())
            streams.add(stream)
            try:
                while True:
                    changes = events.read(await stream.read())
                    if changes is not None:
                        since = changes.version
                        yield changes
            except EtcdError as error:
                _LOG.info("a watch broke off: %s", error, extra={"prefix": prefix})
            finally:
                streams.discard(stream)
                stream.cancel()
            self.client.watch_failed()
            await self._clock.sleep(RETRY_DELAY_S)

    async def _open(self, prefix: str, since: int, with_previous: bool) -> WatchStream:
        key = prefix.encode()
        return await self.client.open_watch(
            pb.WatchCreateRequest(
                key=key,
                range_end=prefix_end(key),
                start_revision=watch_from(since),
                prev_kv=with_previous,
                progress_notify=True,
                fragment=True,  # a long catch-up as one message would be many megabytes
            )
        )

    async def _write(self, key: str, value: Value, expected: int, ttl_s: int) -> int:
        lease = await self._leases.lease_for(ttl_s)
        try:
            return await self._commits.submit(key, value, expected, lease)
        except EtcdError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:  # the lease is gone
                self._leases.forget()
            raise

    async def _range(self, prefix: str, start: str, limit: int, revision: int) -> pb.RangeResponse:
        request = pb.RangeRequest(
            key=start.encode(),
            range_end=prefix_end(prefix.encode()),
            limit=limit,
            revision=revision,
        )
        try:
            return await self.client.range(request)
        except EtcdError as error:
            if error.code is not grpc.StatusCode.OUT_OF_RANGE:
                raise
            if "compacted" in error.details:
                raise CompactedError(await self._oldest()) from error
            newest = await self.current_version()
            raise FutureVersionError(whole(revision), newest) from error

    async def _oldest(self) -> int:
        """The compaction's version, which only a refused watch tells."""
        stream = await self.client.open_watch(
            pb.WatchCreateRequest(key=_PROBE_KEY, start_revision=1)
        )
        try:
            async with asyncio.timeout(_OLDEST_TIMEOUT_S):
                while not (response := await stream.read()).canceled:
                    pass
        except (EtcdError, TimeoutError):
            return 0
        finally:
            stream.cancel()
        return compose(response.compact_revision, 0)

    async def _read_newest(self) -> int:
        request = pb.RangeRequest(key=_PROBE_KEY, keys_only=True)
        return whole((await self.client.range(request)).header.revision)


@asynccontextmanager
async def open_etcd(
    config: EtcdConfig, clock: Clock | None = None, *, grouped: bool = True
) -> AsyncIterator[EtcdStorage]:
    """A storage for as long as the context lasts. Raises: StorageUnavailableError when etcd does
    not answer within `config.request_timeout_s`. `grouped=False` is for measurements."""
    clock = clock or SystemClock()
    async with EtcdClient(config, clock) as client:
        status = await client.status()
        commits = GroupCommit(client, clock, grouped=grouped)
        storage = EtcdStorage(
            client,
            commits,
            LeaseManager(client, clock),
            clock,
            progress_safe=progress_is_safe(status.version),
        )
        await storage.current_version()  # so that writes know a revision that they come after
        async with asyncio.TaskGroup() as tasks:
            committing = tasks.create_task(commits.run(), name="group-commit")
            try:
                yield storage
            finally:
                committing.cancel()
