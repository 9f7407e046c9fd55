"""POST to what is not stored as such: subresources (binding, eviction, token) and reviews.

Source: pkg/registry/core/pod/storage/eviction.go, pkg/registry/core/serviceaccount/storage.
"""

from typing import Any

from google.protobuf.message import Message

from apiserver.admission.interface import Attributes
from apiserver.registry.core import eviction
from apiserver.registry.subresources import REVIEWS, STATUS, body_of
from apiserver.storage.version import ObjectVersion
from apiserver.verbs.bind import bind
from apiserver.verbs.context import Context, copy_of
from apiserver.verbs.delete import delete
from apiserver.verbs.interface import Target, UserInfo, Version, WriteOptions
from podpath.api import errors
from podpath.api.scheme import BINDINGS, PODDISRUPTIONBUDGETS, PODS
from protos.k8s.core_v1_pb2 import Binding
from protos.k8s.meta_v1_pb2 import Status
from protos.k8s.policy_v1_pb2 import Eviction


def is_post(target: Target) -> bool:
    """True if a POST does something else than store the object."""
    return bool(target.subresource) or target.resource is BINDINGS or target.resource in REVIEWS


async def post(
    context: Context, user: UserInfo, target: Target, obj: Message, options: WriteOptions
) -> Version:
    """Does what the subresource says; answers with its own kind or a Status."""
    if isinstance(obj, Binding):
        _check(target, obj)
        await bind(context, user, obj, options)
        return _created()
    if isinstance(obj, Eviction) and target.resource is PODS:
        return await _evict(context, user, target, obj, options)
    handler = context.handlers.get((target.resource, target.subresource))
    if handler is None:
        resource = target.resource
        name = f"{resource.name}/{target.subresource}" if target.subresource else resource.name
        raise errors.method_not_supported(resource.group, name, "create")
    if target.subresource:  # reviews ask a question and change nothing
        await _admit(context, user, target, obj, options.dry_run)
    answer = await handler(user, target, obj)
    return ObjectVersion(body_of(target.resource, target.subresource), answer)


def _check(target: Target, obj: Any) -> None:
    """The body's name and namespace are the request's."""
    for field, wanted in (("namespace", target.namespace), ("name", target.name)):
        given = getattr(obj.metadata, field)
        if wanted and given not in ("", wanted):
            raise errors.bad_request(
                f"the {field} of the object ({given}) does not match the {field} on the URL "
                f"({wanted})"
            )
        if wanted:
            setattr(obj.metadata, field, wanted)


async def _evict(
    context: Context, user: UserInfo, target: Target, request: Eviction, options: WriteOptions
) -> Version:
    """Deletes the Pod unless a disruption budget forbids it for now."""
    _check(target, request)
    dry_run = options.dry_run or bool(request.deleteOptions.dryRun)
    await _admit(context, user, target, request, dry_run)
    pods, budgets = (context.registry.entry(r) for r in (PODS, PODDISRUPTIONBUDGETS))
    pod: Any = (await pods.store.get(target.namespace, target.name)).object
    known = context.caches.list(PODDISRUPTIONBUDGETS, target.namespace)
    budget = eviction.budget_of(pod, known)

    async def disrupted(old: Any) -> Any:
        new = copy_of(old)
        eviction.disrupt(new, target.name, context.clock.now())
        return new

    async def marked(old: Any) -> Any:
        new = copy_of(old)
        eviction.mark(new, context.clock.now())
        return new

    if budget is not None:
        name = budget.metadata.name
        await budgets.store.update(
            target.namespace, name, disrupted, budgets.updates["status"], dry_run=dry_run
        )
    owner = Target(target.resource, target.namespace, target.name)
    if not dry_run and pod.spec.nodeName:
        await pods.store.update(target.namespace, target.name, marked, pods.updates["status"])
    await delete(context, user, owner, request.deleteOptions, dry_run)
    return _created()


async def _admit(
    context: Context, user: UserInfo, target: Target, obj: Message, dry_run: bool
) -> None:
    attributes = Attributes(user, target, "CREATE", obj, None, dry_run)
    await context.admission.mutate(attributes)
    await context.admission.validate(attributes)


def _created() -> Version:
    return ObjectVersion(STATUS, Status(status="Success", code=201))
