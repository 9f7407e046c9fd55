"""A local, indexed, always fresh copy of one resource, and the handlers that follow its changes.

    list ──> replace store ──> watch ──events──> store + handlers
     ^                          │  ends, connection lost: watch again from the last version
     └──────── Expired ─────────┘  (back-off with jitter after errors)

After a relist what vanished meanwhile is told as deletions, so a handler that follows every call
always knows what the store knows. Objects are shared by all readers: never change one.

Source: k8s.io/client-go tools/cache (reflector.go, thread_safe_store.go, shared_informer.go).
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic

from google.protobuf.message import Message

from podpath.api.errors import ApiError
from podpath.api.scheme import ObjectT, Resource
from podpath.client.interface import EVERYTHING, EventType, Reader, Selection, WatchEvent
from podpath.client.store import (
    IndexFunction,
    ObjectKey,
    Store,
    by_controller_uid,
    by_owner_uid,
    controller_of,
    key_of,
    metadata_of,
)
from podpath.component_base.clock import Clock

__all__ = [
    "Change",
    "Handlers",
    "IndexFunction",
    "Informer",
    "InformerFactory",
    "ObjectKey",
    "Store",
    "by_controller_uid",
    "by_owner_uid",
    "controller_of",
    "key_of",
    "metadata_of",
]

log = logging.getLogger(__name__)

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

PAGE_SIZE = 500
BACKOFF_FIRST_S = 0.8
BACKOFF_MAX_S = 30.0
# A watch that ends sooner without an event counts as failed, else an ailing server is hammered.
SHORTEST_WATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Change(Generic[ObjectT]):
    """`old` is None for what is new, `new` is None for what is gone."""

    old: ObjectT | None
    new: ObjectT | None


@dataclass(frozen=True, slots=True)
class Handlers(Generic[ObjectT]):
    """Called synchronously, in the order of the events; all are optional and must be quick.

    `on_delete` gets the last known state. `on_batch` is called once after each batch with all its
    changes, for those who would rather take them together. `on_update` may see old and new that
    differ only in metadata; an object replaced by one of the same name is a delete and an add.
    """

    on_add: Callable[[ObjectT], None] | None = None
    on_update: Callable[[ObjectT, ObjectT], None] | None = None
    on_delete: Callable[[ObjectT], None] | None = None
    on_batch: Callable[[Sequence[Change[ObjectT]]], None] | None = None


class Informer(Generic[ObjectT]):
    """Keeps `store` equal to the server's state while `run()` runs."""

    def __init__(
        self,
        client: Reader,
        resource: Resource[ObjectT],
        *,
        clock: Clock,
        rng: random.Random,
        selection: Selection = EVERYTHING,
        stream_initial: bool = False,
    ) -> None:
        """`stream_initial` asks for the first state over the watch instead of by pages."""
        self.resource = resource
        self.store: Store[ObjectT] = Store()
        self._client = client
        self._clock = clock
        self._rng = rng
        self._selection = selection
        self._stream_initial = stream_initial
        self._handlers: list[Handlers[ObjectT]] = []
        self._version = ""
        self._synced = asyncio.Event()
        self._backoff_s = BACKOFF_FIRST_S
        self._expired = 0

    @property
    def has_synced(self) -> bool:
        """True once the store has held a whole list, and from then on."""
        return self._synced.is_set()

    @property
    def resource_version(self) -> str:
        """Up to which version the store knows all changes."""
        return self._version

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def add_index(self, index: str, function: IndexFunction) -> None:
        self.store.add_index(index, function)

    def add_handlers(self, handlers: Handlers[ObjectT]) -> None:
        """Follows all changes from now on; what the store already holds is told as additions."""
        self._handlers.append(handlers)
        present = [Change(None, obj) for obj in self.store.list()]
        if present:
            _tell(handlers, present)

    async def run(self) -> None:
        """Lists, watches, and starts again whenever that ends; returns only by cancellation."""
        while True:
            try:
                if not self._version:
                    await self._initialise()
                await self._watch()
            except ApiError as error:
                if error.reason in ("Expired", "Gone"):
                    log.info("relisting", extra=self._fields(error))
                    self._version = ""
                    # The server answers: list at once. An Expired that follows upon a fresh list
                    # without an event in between would be a hot loop.
                    self._expired += 1
                    if self._expired > 1:
                        await self._back_off()
                    continue
                log.warning("list or watch failed", extra=self._fields(error))
                await self._back_off()

    async def _back_off(self) -> None:
        delay = self._backoff_s * (1 + self._rng.random())
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)
        await self._clock.sleep(delay)

    async def _initialise(self) -> None:
        if self._stream_initial:
            # The watch begins with the state itself and then goes on: nothing to do here.
            return
        items: list[ObjectT] = []
        token = ""
        while True:
            page = await self._client.list(
                self.resource,
                self._selection,
                limit=PAGE_SIZE,
                continue_token=token,
            )
            items.extend(page.items)
            token = page.continue_token
            if not token:
                break
        self._replace(items)
        self._version = page.resource_version
        self._backoff_s = BACKOFF_FIRST_S

    async def _watch(self) -> None:
        started = self._clock.monotonic()
        initial: list[ObjectT] | None = [] if not self._version else None
        seen = False
        stream = self._client.watch(
            self.resource,
            self._selection,
            resource_version=self._version,
            send_initial_events=initial is not None,
        )
        async with _closing(stream):
            async for events in stream:
                if not events:
                    continue
                seen = True
                if initial is not None:
                    initial = self._take_initial(initial, events)
                else:
                    self._apply(events)
                    self._backoff_s = BACKOFF_FIRST_S
                    self._expired = 0
        if not seen and self._clock.monotonic() - started < SHORTEST_WATCH_S:
            log.warning("watch ended at once", extra=self._fields(None))
            await self._back_off()

    def _take_initial(
        self, initial: list[ObjectT], events: Sequence[WatchEvent[ObjectT]]
    ) -> list[ObjectT] | None:
        """Collects the first state; None when it is complete and stored."""
        for position, event in enumerate(events):
            if event.type is not EventType.BOOKMARK:
                initial.append(event.object)
                continue
            meta = metadata_of(event.object)
            if meta.annotations.get(INITIAL_EVENTS_END) == "true":
                self._replace(initial)
                self._version = meta.resourceVersion
                rest = events[position + 1 :]
                if rest:
                    self._apply(rest)
                return None
        return initial

    def _replace(self, items: Sequence[ObjectT]) -> None:
        """Makes the store equal to `items`; tells the difference."""
        changes: list[Change[ObjectT]] = []
        fresh = {key_of(obj): obj for obj in items}
        gone = [key for key in self.store.keys() if key not in fresh]  # noqa: SIM118
        changes.extend(Change(self.store.remove(key), None) for key in gone)
        for key, obj in fresh.items():
            old = self.store.get(*key)
            if old is not None and _version(old) == _version(obj):
                continue
            self._put(key, obj, changes)
        # Before the handlers run, so that one that asks is not told a half-truth.
        self._synced.set()
        self._tell(changes)

    def _apply(self, events: Sequence[WatchEvent[ObjectT]]) -> None:
        changes: list[Change[ObjectT]] = []
        for event in events:
            obj = event.object
            if event.type is EventType.DELETED:
                if self.store.remove(key_of(obj)) is not None:
                    changes.append(Change(obj, None))
            elif event.type is not EventType.BOOKMARK:
                self._put(key_of(obj), obj, changes)
        self._version = _version(events[-1].object) or self._version
        if changes:
            self._tell(changes)

    def _put(self, key: ObjectKey, obj: ObjectT, changes: list[Change[ObjectT]]) -> None:
        old = self.store.put(key, obj)
        if old is not None and metadata_of(old).uid != metadata_of(obj).uid:
            changes.append(Change(old, None))
            old = None
        changes.append(Change(old, obj))

    def _tell(self, changes: Sequence[Change[ObjectT]]) -> None:
        for handlers in self._handlers:
            _tell(handlers, changes)

    def _fields(self, error: ApiError | None) -> dict[str, str]:
        fields = {"resource": self.resource.qualified_name, "rv": self._version}
        if error is not None:
            fields["error"] = str(error)
        return fields


class InformerFactory:
    """Informers shared by all consumers of a process: one watch for a resource and selection."""

    def __init__(self, client: Reader, *, clock: Clock, rng: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._informers: dict[tuple[Resource[Any], Selection], Informer[Any]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def informer(
        self, resource: Resource[ObjectT], selection: Selection = EVERYTHING
    ) -> Informer[ObjectT]:
        """The informer of that resource; starts at once when the factory already runs."""
        informer = self._informers.get((resource, selection))
        if informer is None:
            informer = Informer(
                self._client, resource, clock=self._clock, rng=self._rng, selection=selection
            )
            self._informers[resource, selection] = informer
            if self._tasks is not None:
                self._start(self._tasks, informer)
        return informer

    @property
    def has_synced(self) -> bool:
        return all(informer.has_synced for informer in self._informers.values())

    async def wait_synced(self) -> None:
        """Returns when every informer asked for so far has synced."""
        for informer in tuple(self._informers.values()):
            await informer.wait_synced()

    async def run(self) -> None:
        """Runs all informers, also those asked for later, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for informer in self._informers.values():
                    self._start(tasks, informer)
                await asyncio.Event().wait()
        finally:
            self._tasks = None

    @staticmethod
    def _start(tasks: asyncio.TaskGroup, informer: Informer[Any]) -> None:
        tasks.create_task(informer.run(), name=f"informer-{informer.resource.qualified_name}")


def _version(obj: Message) -> str:
    return metadata_of(obj).resourceVersion


def _tell(handlers: Handlers[ObjectT], changes: Sequence[Change[ObjectT]]) -> None:
    for change in changes:
        try:
            _tell_one(handlers, change)
        except Exception:
            # One consumer's fault with one object must not stop the others' view of the world.
            log.exception("informer handler failed")
    if handlers.on_batch is not None:
        try:
            handlers.on_batch(changes)
        except Exception:
            log.exception("informer batch handler failed")


def _tell_one(handlers: Handlers[ObjectT], change: Change[ObjectT]) -> None:
    if change.new is None:
        if change.old is not None and handlers.on_delete is not None:
            handlers.on_delete(change.old)
    elif change.old is None:
        if handlers.on_add is not None:
            handlers.on_add(change.new)
    elif handlers.on_update is not None:
        handlers.on_update(change.old, change.new)


@asynccontextmanager
async def _closing(stream: AsyncIterator[Any]) -> AsyncIterator[None]:
    """Closes a stream that is a generator even when its consumer stops early."""
    try:
        yield
    finally:
        aclose = getattr(stream, "aclose", None)
        if aclose is not None:
            await aclose()
