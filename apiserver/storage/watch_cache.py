"""The watch cache: one resource's present state and recent changes, fed by one storage watch.

    storage ──list, then watch──► CachedState ──► subscribers (indexes)
                                      │  └──────► Watchers ──► one bounded buffer a watch
                                      └─────────► lists, gets

A change is decoded once and encoded once, however many read it. A read that must be consistent asks
storage for the newest version and waits until the cache has come that far (`wait_newest`).

Source: k8s.io/apiserver pkg/storage/cacher/cacher.go, watch_cache.go.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from apiserver.storage.cached_state import CachedState, Transition
from apiserver.storage.interface import CompactedError, Storage, StorageError
from apiserver.storage.read_errors import (
    initializing,
    parse_version,
    too_large_version,
    too_old_version,
)
from apiserver.storage.version import ObjectVersion, bookmark
from apiserver.storage.watchers import BATCH_LIMIT, EVERYTHING, Filter, Watcher, Watchers
from apiserver.verbs.interface import WatchEvent
from podpath.api import errors
from podpath.api.scheme import Resource
from podpath.component_base.clock import Clock

_LOG = logging.getLogger(__name__)

HISTORY_LIMIT = 4096
"""Changes that are held for watches to resume from."""

WAIT_S = 3.0
"""How long a read waits for the cache to reach a version. Source: watch_cache.go blockTimeout."""

_PROGRESS_PERIOD_S = 0.1
_LIST_POLL_S = 0.01
_TICK_S = 0.5
_IDLE_PROGRESS_S = 30.0
_RELIST_DELAY_S = 1.0

OnChange = Callable[[Any | None, Any | None], None]


class WatchCache:
    """One resource. `run` must be running; reads that wait, wait for its first list."""

    def __init__(
        self,
        resource: Resource[Any],
        storage: Storage,
        clock: Clock,
        *,
        history_limit: int = HISTORY_LIMIT,
    ) -> None:
        self.resource = resource
        self.storage = storage
        self.state = CachedState(resource, history_limit)
        self._clock = clock
        self._prefix = resource.storage_prefix
        self._watchers = Watchers(resource)
        self._subscribers: list[OnChange] = []
        self._ready = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._progress_wanted = asyncio.Event()
        self._can_ask_progress = True

    @property
    def ready(self) -> bool:
        """True while the cache holds a list and follows its changes."""
        return self._ready.is_set()

    def get(self, namespace: str, name: str) -> ObjectVersion | None:
        """What the cache holds: may lag behind storage by a moment."""
        return self.state.get(self.resource.storage_key(namespace, name))

    def list(self, namespace: str = "") -> Sequence[ObjectVersion]:
        """What the cache holds, all or of one namespace, in key order."""
        return self.state.select(self.prefix_of(namespace))

    def prefix_of(self, namespace: str) -> str:
        if namespace and self.resource.namespaced:
            return f"{self._prefix}{namespace}/"
        return self._prefix

    def key_of(self, version: ObjectVersion) -> str:
        meta = version.object.metadata
        return self.resource.storage_key(meta.namespace, meta.name)

    def wrote(self, version: ObjectVersion) -> ObjectVersion:
        """Optional, after a write: spares decoding and encoding the object again. Answers the
        version that the cache shares with its watchers."""
        return self.state.wrote(version)

    def subscribe(self, on_change: OnChange) -> None:
        """Calls `on_change(None, object)` for what is here, then `(old, new)` for each change."""
        for version in self.state.select(self._prefix):
            on_change(None, version.object)
        self._subscribers.append(on_change)

    async def wait_ready(self) -> None:
        """Raises: ApiError (TooManyRequests) when the first list takes longer than WAIT_S."""
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(WAIT_S):
                    await self._ready.wait()
            except TimeoutError:
                raise initializing() from None

    async def wait_until(self, version: int) -> None:
        """Returns when the cache shows everything up to `version`.

        Raises: ApiError (Timeout, "Too large resource version") when it does not within WAIT_S.
        """
        await self.wait_ready()
        if self.state.version >= version:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (version, reached)
        self._waiting.append(entry)
        self._progress_wanted.set()
        try:
            async with asyncio.timeout(WAIT_S):
                await reached
        except TimeoutError:
            raise too_large_version(version, self.state.version) from None
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    async def wait_newest(self) -> None:
        """Returns when every write acknowledged before the call is in the cache.

        Raises: ApiError, StorageUnavailableError.
        """
        await self.wait_ready()
        if self._can_ask_progress:
            await self.wait_until(await self.storage.current_version())
        else:
            await self._wait_for_list()

    async def watch(
        self,
        selection: Filter = EVERYTHING,
        *,
        resource_version: str = "",
        send_initial_events: bool = False,
        bookmarks: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Events in batches. Ends at the deadline, when the watcher is too slow, or when the cache
        starts anew; the client then resumes from what it saw last.

        `resource_version` "" or "0", or `send_initial_events`: the present state first, as ADDED.
        Raises: ApiError (Expired, Timeout, ServerTimeout, BadRequest), before the first event.
        """
        asked = parse_version(resource_version)
        from_state = send_initial_events or not asked
        await self.wait_ready()
        if not resource_version:
            try:
                await self.wait_newest()
            except StorageError as error:
                group, name = self.resource.group, self.resource.name
                raise errors.server_timeout(group, name, "watch") from error
        elif send_initial_events:
            await self.wait_until(asked)
        # No await from here until the watcher is registered: nothing may come in between.
        past, since = self._past(selection, asked, from_state)
        now = self._clock.monotonic()
        deadline = now + timeout_s if timeout_s else None
        watcher = Watcher(selection, since, bookmarks=bookmarks, now=now, deadline=deadline)
        self._watchers.add(watcher)
        try:
            for batch in past:
                yield batch
            if send_initial_events:
                end = bookmark(self.resource, since, initial_events_end=True)
                yield [WatchEvent("BOOKMARK", end)]
            while batch := await watcher.take():
                yield batch
        finally:
            self._watchers.remove(watcher)

    async def run(self) -> None:
        """Follows storage until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            name = self.resource.qualified_name
            tasks.create_task(self._reflect(), name=f"reflect-{name}")
            tasks.create_task(self._ask_progress(), name=f"progress-{name}")
            tasks.create_task(self._tick(), name=f"bookmarks-{name}")

    def _past(
        self, selection: Filter, asked: int, from_state: bool
    ) -> tuple[Iterator[Sequence[WatchEvent]], int]:
        """What a new watcher gets before live events, lazily, and the version it is then at."""
        state = self.state
        if from_state:
            held = state.select(self.prefix_of(selection.namespace))
            return _batches(WatchEvent("ADDED", v) for v in held if selection.accepts(v)), (
                state.version
            )
        if asked < state.oldest:
            raise too_old_version(asked, state.oldest)
        watcher = Watcher(selection, asked, bookmarks=False, now=0, deadline=None)
        events = map(watcher.event_of, state.since(asked))
        return _batches(e for e in events if e is not None), max(asked, state.version)

    async def _wait_for_list(self) -> None:
        """The newest state from storage that cannot be asked for progress (an old etcd): waits
        until the cache shows all that a list shows."""
        page = await self.storage.list(self._prefix)
        give_up_at = self._clock.monotonic() + WAIT_S
        while not self.state.shows(page):
            if self._clock.monotonic() >= give_up_at:
                raise too_large_version(page.version, self.state.version)
            await self._clock.sleep(_LIST_POLL_S)

    async def _reflect(self) -> None:
        while True:
            try:
                self._can_ask_progress = await self.storage.request_progress(self._prefix)
                page = await self.storage.list(self._prefix)
                self._watchers.end_all()
                self._tell(self.state.replace(page))
                self._ready.set()
                self._release()
                steps = self.storage.watch(self._prefix, page.version, with_previous=False)
                async with aclosing(steps):  # type: ignore[type-var]
                    async for step in steps:
                        transitions = self.state.apply(step)
                        self._tell(transitions)
                        self._watchers.publish(transitions)
                        self._release()
            except CompactedError:
                _LOG.warning("the watch fell behind compaction: listing again", extra=self._names)
            except StorageError as error:
                _LOG.warning("the cache cannot list: %s", error, extra=self._names)
                await self._clock.sleep(_RELIST_DELAY_S)
            self._ready.clear()

    def _tell(self, transitions: Sequence[Transition]) -> None:
        for transition in transitions:
            old = transition.old and transition.old.object
            new = transition.new and transition.new.object
            for on_change in self._subscribers:
                on_change(old, new)

    def _release(self) -> None:
        """Lets those go on who waited for the version that is now reached."""
        if self._waiting:
            for version, reached in self._waiting:
                if version <= self.state.version and not reached.done():
                    reached.set_result(None)
            self._waiting = [entry for entry in self._waiting if not entry[1].done()]

    async def _ask_progress(self) -> None:
        """Asks storage how far it is, while somebody waits for it."""
        while True:
            await self._progress_wanted.wait()
            while self._waiting:
                self._progress_wanted.clear()
                await self.storage.request_progress(self._prefix)
                # Asked again when somebody new waits, or the request may have been lost.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PROGRESS_PERIOD_S):
                        await self._progress_wanted.wait()
            self._progress_wanted.clear()

    async def _tick(self) -> None:
        """Deadlines and bookmarks; keeps an idle cache's version fresh for the bookmarks."""
        progress_at = self._clock.monotonic() + _IDLE_PROGRESS_S
        while True:
            await self._clock.sleep(_TICK_S)
            now = self._clock.monotonic()
            if now >= progress_at and len(self._watchers):
                progress_at = now + _IDLE_PROGRESS_S
                await self.storage.request_progress(self._prefix)
            self.tick(now)

    def tick(self, now: float) -> None:
        """Ends what is overdue and sends the bookmarks that are due at `now`."""
        event: WatchEvent | None = None
        for watcher in self._watchers:
            if watcher.bookmark_due(now) and self.state.version >= watcher.since:
                event = event or WatchEvent("BOOKMARK", bookmark(self.resource, self.state.version))
                watcher.push(event)
                watcher.wake()
            if watcher.overdue(now):
                watcher.end()
                self._watchers.remove(watcher)

    @property
    def _names(self) -> dict[str, str]:
        return {"resource": self.resource.qualified_name}


def _batches(events: Iterator[WatchEvent]) -> Iterator[Sequence[WatchEvent]]:
    batch: list[WatchEvent] = []
    for event in events:
        batch.append(event)
        if len(batch) == BATCH_LIMIT:
            yield batch
            batch = []
    if batch:
        yield batch
