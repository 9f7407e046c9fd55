"""Who watches a resource, and who is told what: the fan-out of a watch cache. Synchronous, but for
a watcher's wait.

Watchers stand in buckets, so that a change costs nothing to those whom it cannot concern: of a
hundred kubelets that watch `spec.nodeName=X`, a Pod's change asks the predicate of one.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiserver.storage.cached_state import Transition
from apiserver.storage.version import ObjectVersion
from apiserver.verbs.interface import WatchEvent
from podpath.api import scheme
from podpath.api.scheme import Resource

_LOG = logging.getLogger(__name__)

BUFFER_LIMIT = 8192
"""Events that a watcher may be behind before its stream is ended."""

BATCH_LIMIT = 512
"""Events that a watcher is given at once."""

BOOKMARK_PERIOD_S = 60.0
BOOKMARK_BEFORE_DEADLINE_S = 2.0

Predicate = Callable[[ObjectVersion], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which objects a list or watch is about. `matches` None: all of the namespace.

    `exact_fields` repeats what `matches` demands of single fields (`spec.nodeName` -> `node-7`):
    a hint by which watchers are indexed, never the only check.
    """

    namespace: str = ""
    matches: Predicate | None = None
    exact_fields: Mapping[str, str] = field(default_factory=dict)

    def accepts(self, version: ObjectVersion) -> bool:
        if self.namespace and version.object.metadata.namespace != self.namespace:
            return False
        return self.matches is None or self.matches(version)


EVERYTHING = Filter()

_Extract = Callable[[Any], str]


def indexed_fields(resource: Resource[Any]) -> dict[str, _Extract]:
    """The fields by which watchers of a resource are indexed, the most selective first."""
    fields: dict[str, _Extract] = {"metadata.name": lambda obj: str(obj.metadata.name)}
    if resource is scheme.PODS:
        fields["spec.nodeName"] = lambda pod: str(pod.spec.nodeName)
    return fields


class Watcher:
    """One watch: the events that it has not been given yet, and when it ends."""

    def __init__(
        self,
        selection: Filter,
        since: int,
        *,
        bookmarks: bool,
        now: float,
        deadline: float | None,
        buffer_limit: int = BUFFER_LIMIT,
    ) -> None:
        self.filter = selection
        self.since = since
        self.bookmarks = bookmarks
        self.deadline = deadline
        self.ended = False
        self._next_bookmark = now + BOOKMARK_PERIOD_S
        if deadline is not None:
            self._next_bookmark = min(self._next_bookmark, deadline - BOOKMARK_BEFORE_DEADLINE_S)
        self._buffer_limit = buffer_limit
        self._buffer: deque[WatchEvent] = deque()
        self._ready = asyncio.Event()

    def event_of(self, transition: Transition) -> WatchEvent | None:
        """What this watcher is told of a change, if anything."""
        if transition.version <= self.since:
            return None
        old, new = transition.old, transition.new
        accepts = self.filter.accepts
        return transition.event(old is not None and accepts(old), new is not None and accepts(new))

    def push(self, event: WatchEvent) -> None:
        """Appends without waking; ends the stream when the watcher is too slow."""
        if self.ended:
            return
        if len(self._buffer) >= self._buffer_limit:
            _LOG.info("a slow watcher is cut off", extra={"behind": len(self._buffer)})
            self.end()
            return
        self._buffer.append(event)

    def wake(self) -> None:
        self._ready.set()

    def end(self) -> None:
        """No more events; those buffered are still delivered."""
        self.ended = True
        self._ready.set()

    def bookmark_due(self, now: float) -> bool:
        """True once for each bookmark."""
        if not self.bookmarks or now < self._next_bookmark:
            return False
        self._next_bookmark = now + BOOKMARK_PERIOD_S
        if self.deadline is not None and now < self.deadline - BOOKMARK_BEFORE_DEADLINE_S:
            near_end = self.deadline - BOOKMARK_BEFORE_DEADLINE_S
            self._next_bookmark = min(self._next_bookmark, near_end)
        return True

    def overdue(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    async def take(self) -> Sequence[WatchEvent]:
        """What is ready, at least one event; empty when the stream is over."""
        while not self._buffer and not self.ended:
            self._ready.clear()
            await self._ready.wait()
        if len(self._buffer) <= BATCH_LIMIT:
            batch = list(self._buffer)
            self._buffer.clear()
            return batch
        return [self._buffer.popleft() for _ in range(BATCH_LIMIT)]


_Bucket = tuple[str, str]
_EVERYONE: _Bucket = ("", "")
_NAMESPACE = "metadata.namespace"


class Watchers:
    """All watchers of one resource, by what can concern them."""

    def __init__(self, resource: Resource[Any]) -> None:
        self._fields = indexed_fields(resource)
        self._buckets: dict[_Bucket, dict[Watcher, None]] = {}
        self._field_uses = dict.fromkeys(self._fields, 0)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def __iter__(self) -> Iterator[Watcher]:
        return iter([watcher for bucket in self._buckets.values() for watcher in bucket])

    def add(self, watcher: Watcher) -> None:
        bucket = self._bucket_of(watcher)
        self._buckets.setdefault(bucket, {})[watcher] = None
        if bucket[0] in self._field_uses:
            self._field_uses[bucket[0]] += 1

    def remove(self, watcher: Watcher) -> None:
        """Does nothing for one that is not here any more."""
        bucket = self._bucket_of(watcher)
        members = self._buckets.get(bucket, {})
        if watcher not in members:
            return
        del members[watcher]
        if not members:
            del self._buckets[bucket]
        if bucket[0] in self._field_uses:
            self._field_uses[bucket[0]] -= 1

    def end_all(self) -> None:
        for watcher in self:
            watcher.end()
        self._buckets.clear()
        self._field_uses = dict.fromkeys(self._fields, 0)

    def publish(self, transitions: Sequence[Transition]) -> None:
        """Gives each change to those whom it concerns, then wakes them, each once."""
        told: dict[Watcher, None] = {}
        for transition in transitions:
            for bucket in self._buckets_of(transition):
                for watcher in self._buckets.get(bucket, ()):
                    event = _event_or_end(watcher, transition)
                    if event is not None:
                        watcher.push(event)
                        told[watcher] = None
        for watcher in told:
            watcher.wake()
            if watcher.ended:
                self.remove(watcher)

    def _bucket_of(self, watcher: Watcher) -> _Bucket:
        for name in self._fields:
            wanted = watcher.filter.exact_fields.get(name)
            if wanted is not None:
                return name, wanted
        if watcher.filter.namespace:
            return _NAMESPACE, watcher.filter.namespace
        return _EVERYONE

    def _buckets_of(self, transition: Transition) -> Iterable[_Bucket]:
        yield _EVERYONE
        yield _NAMESPACE, transition.namespace
        for name, extract in self._fields.items():
            if not self._field_uses[name]:
                continue
            old = None if transition.old is None else extract(transition.old.object)
            new = None if transition.new is None else extract(transition.new.object)
            if new is not None:
                yield name, new
            if old is not None and old != new:
                yield name, old


def _event_or_end(watcher: Watcher, transition: Transition) -> WatchEvent | None:
    """A predicate that fails ends its own watch, and harms no other."""
    try:
        return watcher.event_of(transition)
    except Exception:
        _LOG.exception("a watch's predicate failed", extra={"key": transition.key})
        watcher.end()
        return None
