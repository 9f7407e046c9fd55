"""A Client without a server: one process' memory, for tests and simulations.

It behaves as an API server does as far as its clients can tell: resourceVersions that grow with
every write, Conflict on a stale one, status kept apart from spec, graceful deletion of Pods,
finalizers, watches that resume. It checks no permissions, sets no defaults and validates little.
"""

import asyncio
import random
import uuid
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from operator import attrgetter
from typing import Any, cast

import orjson
from google.protobuf.message import Message

from podpath.api import errors
from podpath.api.errors import ApiError
from podpath.api.scheme import NODES, PODS, ObjectT, Resource
from podpath.client.interface import EVERYTHING, EventType, ObjectList, Selection, WatchEvent
from podpath.client.memory_rules import (
    Change,
    Key,
    bookmark,
    copy_of,
    event_of,
    grace_s,
    key_of,
    matcher,
    merged,
    meta_of,
    outcome_of,
    patched,
    refusal,
)
from podpath.component_base.clock import Clock, SystemClock
from protos.k8s.core_v1_pb2 import Binding, PodCondition
from protos.k8s.meta_v1_pb2 import DeleteOptions

_version_of = attrgetter("version")

GENERATE_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class MemoryClient:
    """A Client whose objects live here. `calls` records (method, resource name, object name)."""

    def __init__(self, clock: Clock | None = None, rng: random.Random | None = None) -> None:
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._objects: dict[Resource[Any], dict[Key, Message]] = {}
        self._version = 1
        self._oldest = 0
        self._history: list[Change] = []
        self._wakers: dict[asyncio.Event, None] = {}  # in the order of their watches
        self._errors: dict[str, list[ApiError]] = {}
        self.calls: list[tuple[str, str, str]] = []

    # What tests do to it

    def inject_error(self, method: str, error: ApiError, times: int = 1) -> None:
        """The next `times` calls of `method` ("bind", "update_status_many", ...) raise `error`."""
        self._errors.setdefault(method, []).extend([error] * times)

    def compact(self) -> None:
        """Forgets the history: watches from an older version get Expired."""
        self._history.clear()
        self._oldest = self._version

    def seed(self, resource: Resource[ObjectT], *objs: ObjectT) -> None:
        """Stores objects as they are, status included; gives them a uid when they have none."""
        for obj in objs:
            copy = copy_of(obj)
            meta_of(copy).uid = meta_of(copy).uid or str(uuid.UUID(int=self._rng.getrandbits(128)))
            self._put(resource, copy)

    # Reader

    async def get(
        self, resource: Resource[ObjectT], namespace: str, name: str, *, resource_version: str = ""
    ) -> ObjectT:
        self._called("get", resource, name)
        return copy_of(self._find(resource, namespace, name))

    async def list(
        self,
        resource: Resource[ObjectT],
        selection: Selection = EVERYTHING,
        *,
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList[ObjectT]:
        self._called("list", resource, "")
        matches = matcher(resource, selection)
        found = sorted(self._objects.get(resource, {}).items(), key=lambda item: item[0])
        start = tuple(continue_token.split("/", 1)) if continue_token else ("", "")
        items = [
            cast("ObjectT", copy_of(obj)) for key, obj in found if key > start and matches(obj)
        ]
        token = ""
        if limit and len(items) > limit:
            items = items[:limit]
            token = "/".join(key_of(resource, items[-1]))
        return ObjectList(items, str(self._version), token)

    async def watch(
        self,
        resource: Resource[ObjectT],
        selection: Selection = EVERYTHING,
        *,
        resource_version: str = "",
        send_initial_events: bool = False,
    ) -> AsyncIterator[Sequence[WatchEvent[ObjectT]]]:
        self._called("watch", resource, "")
        matches = matcher(resource, selection)
        since = int(resource_version or 0)
        if since and since < self._oldest:
            raise errors.expired(f"too old resource version: {since} ({self._oldest})")
        wake = asyncio.Event()
        self._wakers[wake] = None
        try:
            if send_initial_events or since == 0:
                since = self._version
                present = [obj for obj in self._objects.get(resource, {}).values() if matches(obj)]
                initial = [WatchEvent(EventType.ADDED, cast("ObjectT", obj)) for obj in present]
                if send_initial_events:
                    initial.append(bookmark(resource, since))
                if initial:
                    yield initial
            while True:
                if since < self._oldest:
                    raise errors.expired(f"too old resource version: {since} ({self._oldest})")
                wake.clear()
                changes = self._history[bisect_right(self._history, since, key=_version_of) :]
                since = self._version
                events = [e for c in changes if (e := event_of(c, resource, matches)) is not None]
                if events:
                    yield cast("Sequence[WatchEvent[ObjectT]]", events)
                else:
                    await wake.wait()
        finally:
            self._wakers.pop(wake, None)

    # Writer

    async def create(
        self,
        resource: Resource[ObjectT],
        obj: ObjectT,
        *,
        subresource: str = "",
        name: str = "",
        dry_run: bool = False,
    ) -> ObjectT:
        self._called("create", resource, meta_of(obj).name or meta_of(obj).generateName)
        if subresource:
            raise errors.method_not_supported(resource.group, resource.name, "create")
        copy = copy_of(obj)
        meta = meta_of(copy)
        if not meta.name and meta.generateName:
            meta.name = meta.generateName[:58] + "".join(
                self._rng.choice(GENERATE_NAME_ALPHABET) for _ in range(5)
            )
        if not meta.name:
            missing = errors.required("metadata.name", "name or generateName is required")
            raise errors.invalid_object(resource.group, resource.kind, "", [missing])
        if key_of(resource, copy) in self._objects.get(resource, {}):
            raise errors.already_exists(resource.group, resource.name, meta.name)
        meta.uid = str(uuid.UUID(int=self._rng.getrandbits(128)))
        meta.creationTimestamp.seconds = int(self._clock.now().timestamp())
        if "status" in resource.subresources and resource is not NODES:
            copy.ClearField("status")
        if resource is PODS:
            cast("Any", copy).status.phase = "Pending"
        if not dry_run:
            self._put(resource, copy)
        return copy_of(copy)

    async def create_many(
        self, resource: Resource[ObjectT], objs: Sequence[ObjectT]
    ) -> Sequence[ObjectT | ApiError]:
        self._raise_injected("create_many")
        return await asyncio.gather(*(outcome_of(self.create(resource, obj)) for obj in objs))

    async def update(
        self, resource: Resource[ObjectT], obj: ObjectT, *, subresource: str = ""
    ) -> ObjectT:
        method = "update_status" if subresource == "status" else "update"
        self._called(method, resource, meta_of(obj).name)
        return self._replace(resource, obj, subresource)

    async def update_status(self, resource: Resource[ObjectT], obj: ObjectT) -> ObjectT:
        return await self.update(resource, obj, subresource="status")

    async def update_status_many(
        self, resource: Resource[ObjectT], objs: Sequence[ObjectT]
    ) -> Sequence[ObjectT | ApiError]:
        self._raise_injected("update_status_many")
        return await asyncio.gather(
            *(outcome_of(self.update_status(resource, obj)) for obj in objs)
        )

    async def patch(
        self,
        resource: Resource[ObjectT],
        namespace: str,
        name: str,
        patch: bytes,
        *,
        patch_type: str = "application/strategic-merge-patch+json",
        subresource: str = "",
    ) -> ObjectT:
        self._called("patch", resource, name)
        current = self._find(resource, namespace, name)
        new = patched(resource, current, orjson.loads(patch), patch_type)
        return self._replace(resource, new, subresource)

    async def delete(
        self,
        resource: Resource[ObjectT],
        namespace: str,
        name: str,
        options: DeleteOptions | None = None,
    ) -> None:
        self._called("delete", resource, name)
        options = options or DeleteOptions()
        current = self._find(resource, namespace, name)
        meta = meta_of(current)
        if options.preconditions.uid not in ("", meta.uid):
            cause = (
                f"Precondition failed: UID in precondition: {options.preconditions.uid}, "
                f"UID in object meta: {meta.uid}"
            )
            raise errors.conflict(resource.group, resource.name, name, cause)
        grace = grace_s(resource, current, options)
        if grace == 0 and not meta.finalizers:
            self._remove(resource, current)
            return
        if meta.HasField("deletionTimestamp") and grace >= meta.deletionGracePeriodSeconds:
            return
        copy = copy_of(current)
        meta_of(copy).deletionTimestamp.seconds = int(self._clock.now().timestamp()) + grace
        meta_of(copy).deletionGracePeriodSeconds = grace
        self._put(resource, copy)

    async def bind(self, binding: Binding) -> None:
        self._called("bind", PODS, binding.metadata.name)
        pod = self._find(PODS, binding.metadata.namespace, binding.metadata.name)
        if cause := refusal(pod, binding):
            raise errors.conflict("", "pods/binding", pod.metadata.name, cause)
        copy = copy_of(pod)
        copy.spec.nodeName = binding.target.name
        others = [c for c in copy.status.conditions if c.type != "PodScheduled"]
        del copy.status.conditions[:]
        copy.status.conditions.extend([*others, PodCondition(type="PodScheduled", status="True")])
        self._put(PODS, copy)

    async def bind_many(self, bindings: Sequence[Binding]) -> Sequence[ApiError | None]:
        self._raise_injected("bind_many")
        return await asyncio.gather(*(outcome_of(self.bind(binding)) for binding in bindings))

    # Its parts

    def _called(self, method: str, resource: Resource[Any], name: str) -> None:
        self.calls.append((method, resource.name, name))
        self._raise_injected(method)

    def _raise_injected(self, method: str) -> None:
        if self._errors.get(method):
            raise self._errors[method].pop(0)

    def _find(self, resource: Resource[ObjectT], namespace: str, name: str) -> ObjectT:
        key = (namespace if resource.namespaced else "", name)
        found = self._objects.get(resource, {}).get(key)
        if found is None:
            raise errors.not_found(resource.group, resource.name, name)
        return cast("ObjectT", found)

    def _replace(self, resource: Resource[ObjectT], obj: ObjectT, subresource: str) -> ObjectT:
        name = meta_of(obj).name
        current = self._find(resource, meta_of(obj).namespace, name)
        if meta_of(obj).resourceVersion not in ("", meta_of(current).resourceVersion):
            raise errors.conflict(resource.group, resource.name, name, errors.STALE_OBJECT)
        if meta_of(obj).uid not in ("", meta_of(current).uid):
            cause = (
                f"Precondition failed: UID in precondition: {meta_of(obj).uid}, "
                f"UID in object meta: {meta_of(current).uid}"
            )
            raise errors.conflict(resource.group, resource.name, name, cause)
        copy = merged(resource, current, obj, subresource)
        if copy == current:
            return copy
        meta = meta_of(copy)
        ended = meta.HasField("deletionTimestamp") and meta.deletionGracePeriodSeconds == 0
        if ended and not meta.finalizers:
            self._remove(resource, copy)
            return copy
        self._put(resource, copy)
        return copy_of(copy)

    def _put(self, resource: Resource[Any], obj: Message) -> None:
        self._version += 1
        meta_of(obj).resourceVersion = str(self._version)
        stored = copy_of(obj)
        key = key_of(resource, stored)
        previous = self._objects.setdefault(resource, {}).get(key)
        self._objects[resource][key] = stored
        self._tell(Change(self._version, resource, key, stored, previous))

    def _remove(self, resource: Resource[Any], obj: Message) -> None:
        key = key_of(resource, obj)
        last = copy_of(obj)
        previous = self._objects[resource].pop(key)
        self._version += 1
        meta_of(last).resourceVersion = str(self._version)
        self._tell(Change(self._version, resource, key, last, previous, deleted=True))

    def _tell(self, change: Change) -> None:
        self._history.append(change)
        for wake in self._wakers:
            wake.set()
