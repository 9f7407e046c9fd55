"""Objects of one resource in storage: create, read, change and delete them, whatever their kind.

Every change is a compare-and-swap in a loop: start from what the cache holds, let the caller
compute the new object, try to store it; when the cache was behind, go on from what storage holds.

Source: k8s.io/apiserver pkg/registry/generic/registry/store.go, pkg/storage/etcd3/store.go
(GuaranteedUpdate), pkg/registry/rest/delete.go.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message

from apiserver.registry import deletion
from apiserver.registry.deletion import Fate
from apiserver.registry.strategy import Strategy
from apiserver.storage.interface import (
    KeyExistsError,
    KeyNotFoundError,
    Storage,
    StorageUnavailableError,
    Stored,
    TooLargeError,
    Value,
    VersionConflictError,
)
from apiserver.storage.version import ObjectVersion
from apiserver.verbs.interface import Version
from podpath.api import errors
from podpath.api.scheme import Resource
from podpath.component_base.clock import Clock
from protos.k8s.meta_v1_pb2 import DeleteOptions, StatusCause

UPDATE_ATTEMPTS_MAX = 100

Apply = Callable[[Any], Awaitable[Any]]
"""Computes the new object from the present one (shared, read-only). May run more than once."""

Check = Callable[[Any], Awaitable[None]]
"""Raises ApiError when the present object must not be deleted."""


class Cache(Protocol):
    """The watch cache, which may lag behind storage."""

    def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        """The newest object it has, or None."""

    def wrote(self, version: ObjectVersion) -> ObjectVersion:
        """This was just stored. Answers the version that the cache shows for it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a change starts from. `live` says that it came from storage, not from a cache."""

    object: Any
    version: int
    live: bool


@dataclass(frozen=True, slots=True)
class Updated:
    """The result of an update and what was there before. `removed`: it was the last obstacle to
    a deletion, so the object is gone."""

    version: Version
    old: Any
    removed: bool = False


class Store:
    """The objects of one resource."""

    def __init__(
        self,
        resource: Resource[Any],
        storage: Storage,
        cache: Cache,
        clock: Clock,
        *,
        ttl_s: int = 0,
    ) -> None:
        self.resource = resource
        self._storage = storage
        self._cache = cache
        self._clock = clock
        self._ttl_s = ttl_s

    async def get(self, namespace: str, name: str) -> Version:
        """The newest version (linearizable). Raises: NotFound."""
        return ObjectVersion(self.resource, (await self._live(namespace, name)).object)

    async def find(self, namespace: str, name: str) -> Any | None:
        """The newest object, or None."""
        try:
            return (await self._live(namespace, name)).object
        except errors.ApiError as error:
            if error.reason == "NotFound":
                return None
            raise

    async def create(self, obj: Any, *, dry_run: bool = False) -> Version:
        """Stores a new object. Raises: AlreadyExists."""
        meta = obj.metadata
        key = self._key(meta.namespace, meta.name)
        meta.ClearField("resourceVersion")
        if dry_run:
            if await self.find(meta.namespace, meta.name) is not None:
                raise errors.already_exists(self.resource.group, self.resource.name, meta.name)
            return ObjectVersion(self.resource, obj)
        with self._translated(meta.name, "create"):
            version = await self._storage.create(key, self._value(obj), ttl_s=self._ttl_s)
        return self._written(obj, version)

    async def update(
        self,
        namespace: str,
        name: str,
        apply: Apply,
        strategy: Strategy,
        *,
        dry_run: bool = False,
    ) -> Updated:
        """Changes an object by `apply`, as often as it takes. Raises: NotFound, what apply does."""
        origin = self._cached(namespace, name) or await self._live(namespace, name)
        for _ in range(UPDATE_ATTEMPTS_MAX):
            try:
                new = await apply(origin.object)
            except errors.ApiError:
                # A refusal counts only when it was computed from what is really there.
                newer = None if origin.live else await self._live(namespace, name)
                if newer is None or newer.version == origin.version:
                    raise
                origin = newer
                continue
            new.metadata.resourceVersion = origin.object.metadata.resourceVersion
            if deletion.finished(strategy, new):
                if dry_run or await self._remove(name, namespace, origin.version):
                    return Updated(ObjectVersion(self.resource, new), origin.object, removed=True)
                origin = await self._live(namespace, name)
                continue
            if dry_run or new == origin.object:
                if not origin.live and not dry_run:
                    newer = await self._live(namespace, name)
                    if newer.version != origin.version:
                        origin = newer
                        continue
                return Updated(ObjectVersion(self.resource, new), origin.object)
            stored = await self._replace(new, origin)
            if isinstance(stored, Origin):
                origin = stored
                continue
            return Updated(stored, origin.object)
        raise errors.server_timeout(self.resource.group, self.resource.name, "update")

    async def swap(self, obj: Any) -> Any:
        """Stores `obj` in place of the very version that it names, without rules or admission.

        Returns the stored object, which is shared from then on. Raises: Conflict, NotFound.
        """
        meta = obj.metadata
        expected = meta.resourceVersion
        stored = await self._replace(obj, Origin(obj, int(expected), live=True))
        if isinstance(stored, Origin):
            group, plural = self.resource.group, self.resource.name
            raise errors.conflict(group, plural, meta.name, errors.STALE_OBJECT)
        return stored.object

    async def delete(
        self,
        namespace: str,
        name: str,
        options: DeleteOptions,
        strategy: Strategy,
        check: Check,
        *,
        dry_run: bool = False,
    ) -> tuple[Version, bool]:
        """Starts or finishes a deletion; True when the object is gone.

        Raises: NotFound, Conflict.
        """
        origin = self._cached(namespace, name) or await self._live(namespace, name)
        for _ in range(UPDATE_ATTEMPTS_MAX):
            try:
                deletion.check_preconditions(self.resource, origin.object, options)
                await check(origin.object)
            except errors.ApiError:
                newer = None if origin.live else await self._live(namespace, name)
                if newer is None or newer.version == origin.version:
                    raise
                origin = newer
                continue
            fate, marked = deletion.decide(strategy, origin.object, options, self._clock.now())
            if fate is Fate.PENDING and not origin.live:
                origin = await self._live(namespace, name)
                continue
            if dry_run or fate is Fate.PENDING:
                return ObjectVersion(self.resource, marked), fate is Fate.REMOVE
            if fate is Fate.REMOVE:
                if await self._remove(name, namespace, origin.version):
                    return ObjectVersion(self.resource, marked), True
                origin = await self._live(namespace, name)
                continue
            stored = await self._replace(marked, origin)
            if not isinstance(stored, Origin):
                return stored, False
            origin = stored
        raise errors.server_timeout(self.resource.group, self.resource.name, "delete")

    def _cached(self, namespace: str, name: str) -> Origin | None:
        obj = self._cache.get(self.resource, namespace, name)
        if obj is None:
            return None
        return Origin(obj, int(obj.metadata.resourceVersion), live=False)

    async def _live(self, namespace: str, name: str) -> Origin:
        with self._translated(name, "get"):
            return self._origin(await self._storage.get(self._key(namespace, name)))

    def _origin(self, stored: Stored) -> Origin:
        obj = self.resource.message.FromString(stored.value.raw)
        obj.metadata.resourceVersion = str(stored.version)
        return Origin(obj, stored.version, live=True)

    async def _replace(self, new: Any, origin: Origin) -> Version | Origin:
        """The stored version, or what to start from again when another write came first."""
        meta = new.metadata
        meta.ClearField("resourceVersion")
        key = self._key(meta.namespace, meta.name)
        with self._translated(meta.name, "update"):
            try:
                version = await self._storage.update(
                    key, self._value(new), origin.version, ttl_s=self._ttl_s
                )
            except VersionConflictError as error:
                if error.current is None:
                    raise KeyNotFoundError(key) from None
                return self._origin(error.current)
        return self._written(new, version)

    async def _remove(self, name: str, namespace: str, expected: int) -> bool:
        """False when another write came first. Raises: NotFound when it was a deletion."""
        key = self._key(namespace, name)
        with self._translated(name, "delete"):
            try:
                await self._storage.delete(key, expected)
            except VersionConflictError as error:
                if error.current is None:
                    raise KeyNotFoundError(key) from None
                return False
        return True

    def _written(self, obj: Any, version: int) -> ObjectVersion:
        """From here on `obj` is shared: nobody changes it any more."""
        obj.metadata.resourceVersion = str(version)
        return self._cache.wrote(ObjectVersion(self.resource, obj))

    def _value(self, obj: Message) -> Value:
        raw = obj.SerializeToString(deterministic=True)
        return Value(self.resource.api_version, self.resource.kind, raw)

    def _key(self, namespace: str, name: str) -> str:
        return self.resource.storage_key(namespace, name)

    @contextmanager
    def _translated(self, name: str, operation: str) -> Iterator[None]:
        try:
            yield
        except KeyExistsError:
            group, plural = self.resource.group, self.resource.name
            raise errors.already_exists(group, plural, name) from None
        except KeyNotFoundError:
            raise errors.not_found(self.resource.group, self.resource.name, name) from None
        except TooLargeError as error:
            raise errors.too_large(str(error)) from None
        except StorageUnavailableError as error:
            raise unavailable(self.resource, operation, error) from error


def unavailable(
    resource: Resource[Any], operation: str, error: StorageUnavailableError
) -> errors.ApiError:
    """Storage did not answer: the client may try again."""
    failure = errors.server_timeout(resource.group, resource.name, operation)
    failure.status.details.causes.append(StatusCause(message=str(error)))
    return failure
