"""The watch caches of all resources: made when first asked for, or at start.

What admission and authorization ask for at every request is there before the doors open; the
others (60 kinds that nobody may ever use) cost nothing until somebody does.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from apiserver.storage.interface import KeyNotFoundError, Storage
from apiserver.storage.version import ObjectVersion, decode
from apiserver.storage.watch_cache import WatchCache
from podpath.api.scheme import ObjectT, Resource
from podpath.component_base.clock import Clock


class Caches:
    """Implements `apiserver.lister.Lister` and `ChangeSource`. `run` must be running."""

    def __init__(self, storage: Storage, clock: Clock, eager: Iterable[Resource[Any]]) -> None:
        self._storage = storage
        self._clock = clock
        self._caches: dict[Resource[Any], WatchCache] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._eager = tuple(eager)
        for resource in self._eager:
            self.cache(resource)

    async def run(self) -> None:
        """Keeps the caches current until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for cache in self._caches.values():
                self._start(cache)
            await asyncio.Event().wait()

    async def synced(self) -> None:
        """Returns when every cache made so far holds its first list."""
        for cache in tuple(self._caches.values()):
            while not cache.ready:
                await self._clock.sleep(0.01)

    @property
    def ready(self) -> bool:
        """True while the caches that were made at start follow storage."""
        return all(self._caches[resource].ready for resource in self._eager)

    def cache(self, resource: Resource[Any]) -> WatchCache:
        """The resource's cache; it may not be ready yet."""
        found = self._caches.get(resource)
        if found is None:
            found = self._caches[resource] = WatchCache(resource, self._storage, self._clock)
            self._start(found)
        return found

    def get(self, resource: Resource[ObjectT], namespace: str, name: str) -> ObjectT | None:
        version = self.cache(resource).get(namespace, name)
        return None if version is None else cast("ObjectT", version.object)

    def list(self, resource: Resource[ObjectT], namespace: str = "") -> Sequence[ObjectT]:
        return [version.object for version in self.cache(resource).list(namespace)]

    async def get_live(
        self, resource: Resource[ObjectT], namespace: str, name: str
    ) -> ObjectT | None:
        try:
            stored = await self._storage.get(resource.storage_key(namespace, name))
        except KeyNotFoundError:
            return None
        return cast("ObjectT", decode(resource, stored).object)

    def subscribe(
        self,
        resource: Resource[ObjectT],
        on_change: Callable[[ObjectT | None, ObjectT | None], None],
    ) -> None:
        self.cache(resource).subscribe(on_change)

    def wrote(self, version: ObjectVersion) -> ObjectVersion:
        """An object was stored: the cache need not decode it when storage tells of it, and the
        answer shares its encodings with the cache."""
        found = self._caches.get(version.resource)
        return version if found is None else found.wrote(version)

    async def find(
        self, resource: Resource[Any], namespace: str, name: str
    ) -> ObjectVersion | None:
        """What the cache holds, once it holds anything."""
        cache = self.cache(resource)
        await cache.wait_ready()
        return cache.get(namespace, name)

    def _start(self, cache: WatchCache) -> None:
        if self._tasks is not None:
            self._tasks.create_task(cache.run(), name=f"cache-{cache.resource.qualified_name}")
