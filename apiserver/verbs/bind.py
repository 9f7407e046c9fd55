"""Binding: assigns Pods to nodes, one or many at a time."""

from typing import Any

from apiserver.admission.interface import Attributes
from apiserver.registry import managed_fields
from apiserver.registry.core import binding as pod_binding
from apiserver.verbs.context import Context, copy_of
from apiserver.verbs.interface import Target, UserInfo, WriteOptions
from podpath.api import errors
from podpath.api.scheme import PODS, Resource
from protos.k8s.core_v1_pb2 import Binding

_PODS: Resource[Any] = PODS


def target_of(binding: Binding) -> Target:
    """What a Binding is posted to."""
    meta = binding.metadata
    return Target(_PODS, meta.namespace, meta.name, "binding")


async def bind(context: Context, user: UserInfo, binding: Binding, options: WriteOptions) -> None:
    """Sets spec.nodeName of a Pod that has none. Raises: NotFound, Conflict, Invalid."""
    target = target_of(binding)
    attributes = Attributes(user, target, "CREATE", binding, None, options.dry_run)
    await context.admission.mutate(attributes)
    if found := pod_binding.validate(binding):
        raise errors.invalid_object("", "Binding", target.name, found)
    await context.admission.validate(attributes)
    entry = context.registry.entry(PODS)

    async def apply(old: Any) -> Any:
        new = copy_of(old)
        now = context.clock.now()
        pod_binding.assign(new, binding, now)
        if old.metadata.managedFields:
            managed_fields.track(_PODS, target, options, new, old, now)
        return new

    updated = await entry.store.update(
        target.namespace, target.name, apply, entry.strategy, dry_run=options.dry_run
    )
    if not options.dry_run:
        pod_binding.stamp_bound(updated.version.object)  # type: ignore[arg-type]
