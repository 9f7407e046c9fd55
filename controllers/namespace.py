"""Empties a namespace that is being deleted, then lets it go.

1. Delete everything in it, kind by kind; Pods with the grace that they ask for.
2. While something is left, say so in the namespace's conditions and look again.
3. When nothing is left, take the finalizer `kubernetes` out of the spec: the server removes it.

Source: k8s.io/kubernetes pkg/controller/namespace (deletion/namespaced_resources_deleter.go,
deletion/status_condition_utils.go).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controllers.ownership import modify
from controllers.pods import time_at
from controllers.reconciler import Context, Loop, Requeue
from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.api.scheme import NAMESPACES, PODS, Resource
from podpath.client.informer import Handlers, Informer, ObjectKey, key_of, metadata_of
from podpath.client.interface import Selection
from protos.k8s.core_v1_pb2 import Namespace, NamespaceCondition, Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions, Preconditions

NAME = "namespace-controller"
FINALIZER = "kubernetes"
PAGE_SIZE = 500
CONCURRENCY = 32
# When nothing tells when the rest will be gone.
LOOK_AGAIN_S = 5.0
_NEEDED_VERBS = frozenset({"list", "delete"})


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a pass over the namespace left: objects by kind, those held by finalizers, errors."""

    objects: Mapping[str, int] = field(default_factory=dict)
    finalizers: Mapping[str, int] = field(default_factory=dict)
    errors: Sequence[str] = ()

    @property
    def nothing(self) -> bool:
        return not self.objects and not self.errors


def content_resources() -> list[Resource[Any]]:
    """Every namespaced kind that can be listed and deleted; each under one version only."""
    chosen: dict[tuple[str, str], Resource[Any]] = {}
    for resource in scheme.resources():
        if resource.namespaced and set(resource.verbs) >= _NEEDED_VERBS:
            chosen.setdefault((resource.group, resource.name), resource)
    return list(chosen.values())


class NamespaceController:
    def __init__(self, context: Context, resources: Sequence[Resource[Any]] | None = None) -> None:
        """`resources` are the kinds to empty a namespace of; None for all."""
        self._client = context.client
        self._clock = context.clock
        self._resources = content_resources() if resources is None else resources
        namespaces = context.informers.informer(NAMESPACES)
        pods: Informer[Pod] = context.informers.informer(PODS)
        self._namespaces, self._pods = namespaces.store, pods.store
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(namespaces, pods)
        )
        namespaces.add_handlers(Handlers(self._enqueue, lambda _, new: self._enqueue(new)))
        pods.add_handlers(Handlers(on_delete=self._pod_deleted))

    async def run(self) -> None:
        await self._loop.run()

    def _enqueue(self, namespace: Namespace) -> None:
        if namespace.metadata.HasField("deletionTimestamp"):
            self._loop.queue.add(key_of(namespace))

    def _pod_deleted(self, pod: Pod) -> None:
        """Pods take their time to end; the last one's end is the moment to look again."""
        namespace = self._namespaces.get("", pod.metadata.namespace)
        if namespace is None or not namespace.metadata.HasField("deletionTimestamp"):
            return
        if not self._pods.list(pod.metadata.namespace):
            self._loop.queue.add(key_of(namespace))

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        namespace = self._namespaces.get(*key)
        if namespace is None or not namespace.metadata.HasField("deletionTimestamp"):
            return None
        if FINALIZER not in namespace.spec.finalizers:
            return None
        remaining = await self._empty(namespace.metadata.name)
        if remaining.nothing:
            await modify(
                self._client, NAMESPACES, namespace.metadata, _finalize, subresource="finalize"
            )
            return None
        await self._tell(namespace, remaining)
        return Requeue(LOOK_AGAIN_S)

    async def _empty(self, namespace: str) -> Remaining:
        objects: dict[str, int] = {}
        finalizers: Counter[str] = Counter()
        failures: list[str] = []
        # Pods first: what ends in their own time should begin to end early.
        ordered = sorted(self._resources, key=lambda resource: resource is not PODS)
        for resource in ordered:
            try:
                left = await self._delete_all(resource, namespace)
            except ApiError as error:
                if error.reason not in ("NotFound", "MethodNotAllowed"):
                    failures.append(str(error))
                continue
            if left:
                objects[resource.qualified_name] = len(left)
            for obj in left:
                finalizers.update(metadata_of(obj).finalizers)
        return Remaining(objects, dict(finalizers), failures)

    async def _delete_all(self, resource: Resource[Any], namespace: str) -> list[Any]:
        """Deletes what is there; returns what is still there after."""
        found = await self._list(resource, namespace)
        if not found:
            return []
        slots = asyncio.Semaphore(CONCURRENCY)

        async def delete(obj: Any) -> None:
            async with slots:
                await self._delete(resource, obj)

        await asyncio.gather(*(delete(obj) for obj in found))
        return await self._list(resource, namespace)

    async def _list(self, resource: Resource[Any], namespace: str) -> list[Any]:
        items: list[Any] = []
        token = ""
        while True:
            page = await self._client.list(
                resource, Selection(namespace), limit=PAGE_SIZE, continue_token=token
            )
            items.extend(page.items)
            token = page.continue_token
            if not token:
                return items

    async def _delete(self, resource: Resource[Any], obj: Any) -> None:
        meta = metadata_of(obj)
        if meta.HasField("deletionTimestamp"):
            return
        options = DeleteOptions(
            preconditions=Preconditions(uid=meta.uid), propagationPolicy="Background"
        )
        try:
            await self._client.delete(resource, meta.namespace, meta.name, options)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

    async def _tell(self, namespace: Namespace, remaining: Remaining) -> None:
        now_s = self._clock.now().timestamp()

        def change(live: Namespace) -> bool:
            return set_conditions(live, remaining, now_s)

        await modify(self._client, NAMESPACES, namespace.metadata, change, subresource="status")


def _finalize(namespace: Namespace) -> bool:
    if FINALIZER not in namespace.spec.finalizers:
        return False
    namespace.spec.finalizers.remove(FINALIZER)
    return True


def set_conditions(namespace: Namespace, remaining: Remaining, now_s: float) -> bool:
    """Writes what holds the deletion up into the conditions; True if any changed."""
    changed = False
    for wanted in conditions(remaining):
        present = next((c for c in namespace.status.conditions if c.type == wanted.type), None)
        if present is not None and (present.status, present.message) == (
            wanted.status,
            wanted.message,
        ):
            continue
        if present is None or present.status != wanted.status:
            wanted.lastTransitionTime.CopyFrom(time_at(now_s))
        else:
            wanted.lastTransitionTime.CopyFrom(present.lastTransitionTime)
        if present is None:
            namespace.status.conditions.append(wanted)
        else:
            present.CopyFrom(wanted)
        changed = True
    return changed


def conditions(remaining: Remaining) -> list[NamespaceCondition]:
    """The conditions of a namespace's deletion, without times."""
    failed, left, held = remaining.errors, remaining.objects, remaining.finalizers
    return [
        _condition(
            "NamespaceDeletionDiscoveryFailure",
            False,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        _condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        _condition(
            "NamespaceDeletionContentFailure",
            bool(failed),
            "ContentDeletionFailed" if failed else "ContentDeleted",
            f"Failed to delete all resource types, {len(failed)} remaining: {', '.join(failed)}"
            if failed
            else "All content successfully deleted, may be waiting on finalization",
        ),
        _condition(
            "NamespaceContentRemaining",
            bool(left),
            "SomeResourcesRemain" if left else "ContentRemoved",
            "Some resources are remaining: "
            + ", ".join(f"{kind} has {n} resource instances" for kind, n in sorted(left.items()))
            if left
            else "All content successfully removed",
        ),
        _condition(
            "NamespaceFinalizersRemaining",
            bool(held),
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            "Some content in the namespace has finalizers remaining: "
            + ", ".join(f"{name} in {n} resource instances" for name, n in sorted(held.items()))
            if held
            else "All content-preserving finalizers finished",
        ),
    ]


def _condition(kind: str, holds: bool, reason: str, message: str) -> NamespaceCondition:
    status = "True" if holds else "False"
    return NamespaceCondition(type=kind, status=status, reason=reason, message=message)
