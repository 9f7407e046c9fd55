"""Storage in memory, with etcd's semantics: for tests and simulations of one process.

Versions, groups, compaction and errors are as in `etcd.py`. With `group_size` > 1 writes that
follow one another share a revision, as under group commit, until somebody reads: a read shows
whole revisions only. An expired object goes at the next operation, not by a timer.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from apiserver.storage.envelope import can_hold_index
from apiserver.storage.interface import (
    Change,
    Changes,
    CompactedError,
    FutureVersionError,
    KeyExistsError,
    KeyNotFoundError,
    Page,
    Stored,
    Value,
    VersionConflictError,
)
from apiserver.storage.keys import successor
from apiserver.storage.resource_version import (
    compose,
    deletion_index,
    revision_of,
    watch_from,
    whole,
)
from podpath.component_base.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class _LogEntry:
    change: Change
    before: Stored | None


class _Watch:
    """Steps that one watcher has not taken yet."""

    def __init__(self, prefix: str, since: int) -> None:
        self.prefix = prefix
        self.since = since
        self._steps: deque[Changes] = deque()
        self._ready = asyncio.Event()
        self._failure: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Ends the watch, after what it has not taken yet."""
        self._failure = error
        self._ready.set()

    def push(self, changes: list[Change], version: int) -> None:
        if version > self.since:
            self.since = version
            self._steps.append(Changes(changes, version))
            self._ready.set()

    async def next(self) -> Changes:
        while not self._steps:
            if self._failure is not None:
                raise self._failure
            self._ready.clear()
            await self._ready.wait()
        return self._steps.popleft()


class MemoryStorage:
    """Implements `apiserver.storage.interface.Storage`."""

    def __init__(self, clock: Clock | None = None, *, group_size: int = 1) -> None:
        self._clock = clock or SystemClock()
        self._group_size = group_size
        self._objects: dict[str, Stored] = {}
        self._expiry: dict[str, float] = {}
        self._log: list[_LogEntry] = []
        self._watches: set[_Watch] = set()
        self._revision = 1
        self._compacted = 0
        self._group: set[str] = set()  # keys written in the present revision, while it is open
        self._next_index = 0

    async def get(self, key: str) -> Stored:
        self._settle()
        try:
            return self._objects[key]
        except KeyError:
            raise KeyNotFoundError(key) from None

    async def list(
        self, prefix: str, *, limit: int = 0, from_key: str = "", version: int = 0
    ) -> Page:
        self._settle()
        revision = revision_of(version) or self._revision
        start = from_key or prefix
        objects = self._objects_at(revision)
        keys = sorted(k for k in objects if k.startswith(prefix) and k >= start)
        taken = keys[:limit] if limit else keys
        items = [objects[k] for k in taken]
        if len(taken) == len(keys):
            return Page(items, whole(revision))
        return Page(items, whole(revision), successor(taken[-1]), len(keys) - len(taken))

    async def create(self, key: str, value: Value, *, ttl_s: int = 0) -> int:
        self._expire()
        if key in self._objects:
            raise KeyExistsError(key)
        return self._put(key, value, ttl_s)

    async def update(self, key: str, value: Value, expected: int, *, ttl_s: int = 0) -> int:
        self._expect(key, expected)
        return self._put(key, value, ttl_s)

    async def delete(self, key: str, expected: int) -> int:
        self._expect(key, expected)
        return self._remove(key, self._next_version(key, deletion=True))

    async def current_version(self) -> int:
        self._settle()
        return whole(self._revision)

    async def request_progress(self, prefix: str) -> bool:
        self._settle()
        for watch in self._watches:
            if watch.prefix == prefix:
                watch.push([], whole(self._revision))
        return True

    async def watch(
        self, prefix: str, since: int, *, with_previous: bool = True
    ) -> AsyncIterator[Changes]:
        del with_previous  # costs nothing here
        if watch_from(since) < self._compacted:
            raise CompactedError(compose(self._compacted, 0))
        watch = _Watch(prefix, since)
        past = [
            entry.change
            for entry in self._log
            if entry.change.version > since and entry.change.key.startswith(prefix)
        ]
        if past:
            watch.push(past, past[-1].version)
        self._watches.add(watch)
        try:
            while True:
                yield await watch.next()
        finally:
            self._watches.discard(watch)

    def compact(self, version: int) -> None:
        """Forgets what was overwritten or deleted up to `version`."""
        self._settle()
        self._compacted = revision_of(version)
        self._log = [e for e in self._log if revision_of(e.change.version) >= self._compacted]

    def expire_watches(self) -> None:
        """Ends the open watches as if they had fallen behind a compaction. For tests."""
        for watch in self._watches:
            watch.fail(CompactedError(compose(self._compacted, 0)))

    def _expect(self, key: str, expected: int) -> None:
        self._expire()
        current = self._objects.get(key)
        if current is None or revision_of(current.version) != revision_of(expected):
            raise VersionConflictError(key, current)

    def _put(self, key: str, value: Value, ttl_s: int) -> int:
        version = self._next_version(key, groupable=can_hold_index(value))
        before = self._objects.get(key)
        self._objects[key] = Stored(key, value, version)
        self._expiry.pop(key, None)
        if ttl_s:
            self._expiry[key] = self._clock.monotonic() + ttl_s
        previous = before.value if before else None
        self._record(Change(key, version, value, previous, before is None), before)
        return version

    def _remove(self, key: str, version: int) -> int:
        before = self._objects.pop(key)
        self._expiry.pop(key, None)
        self._record(Change(key, version, None, before.value, False), before)
        return version

    def _record(self, change: Change, before: Stored | None) -> None:
        self._log.append(_LogEntry(change, before))
        for watch in self._watches:
            if change.key.startswith(watch.prefix):
                watch.push([change], change.version)

    def _next_version(self, key: str, *, deletion: bool = False, groupable: bool = True) -> int:
        joins = (
            groupable
            and not deletion
            and bool(self._group)
            and key not in self._group
            and self._next_index < self._group_size
        )
        if not joins:
            self._revision += 1
            self._next_index = 0
            self._group = set()
        version = compose(self._revision, self._next_index)
        self._next_index += 1
        if groupable:
            self._group.add(key)
        return version

    def _settle(self) -> None:
        """Before a read: what has expired goes, and the open group is closed."""
        self._expire()
        self._group = set()

    def _expire(self) -> None:
        now = self._clock.monotonic()
        due = sorted(key for key, at in self._expiry.items() if at <= now)
        if not due:
            return
        self._group = set()
        self._revision += 1
        for ordinal, key in enumerate(due):
            self._remove(key, compose(self._revision, deletion_index(ordinal)))

    def _objects_at(self, revision: int) -> dict[str, Stored]:
        if revision > self._revision:
            raise FutureVersionError(whole(revision), whole(self._revision))
        if revision < self._compacted:
            raise CompactedError(compose(self._compacted, 0))
        objects = dict(self._objects)
        for entry in reversed(self._log):
            if revision_of(entry.change.version) <= revision:
                break
            if entry.before is None:
                del objects[entry.change.key]
            else:
                objects[entry.change.key] = entry.before
        return objects
