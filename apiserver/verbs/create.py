"""POST: the way of a new object into storage, in Kubernetes' order.

Source: k8s.io/apiserver pkg/endpoints/handlers/create.go, pkg/registry/rest/create.go,
pkg/registry/generic/registry/store.go (Create).
"""

from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from apiserver.admission.interface import Attributes
from apiserver.defaulting import apply_defaults
from apiserver.registry.registry import Entry
from apiserver.verbs.context import GENERATED_NAME_ATTEMPTS_MAX, Context
from apiserver.verbs.creation import Creation
from apiserver.verbs.interface import Target, UserInfo, Version, WriteOptions
from podpath.api import errors
from podpath.api.errors import ApiError
from podpath.component_base.pod_trace import PodStep
from protos.k8s.meta_v1_pb2 import Status


async def create(
    context: Context,
    user: UserInfo,
    target: Target,
    obj: Any,
    options: WriteOptions,
    creation: Creation,
    *,
    applies: bool = False,
) -> Version:
    """Stores `obj`, which is the verb's from now on, under the creation's uid; managed fields are
    those of an apply only. Raises: ApiError."""
    entry = context.registry.entry(target.resource)
    resource = entry.view.stored

    # Decode (the door did) and default.
    obj = entry.view.to_stored(obj)
    check_namespace(target, obj)
    if not applies:
        obj.metadata.ClearField("managedFields")
    apply_defaults(resource, obj)

    # Mutating admission; defaults again, for what it added.
    if await context.admission.mutate(_attributes(user, target, obj, options)):
        apply_defaults(resource, obj)
    creation.stamp(PodStep.ADMITTED)

    # System metadata and generateName.
    generated = _set_system_metadata(context, obj, creation.uid)
    creation.annotate(obj)

    # Prepare.
    entry.strategy.prepare_for_create(obj)

    # Validate the object.
    if found := entry.strategy.validate(obj):
        raise errors.invalid_object(resource.group, resource.kind, obj.metadata.name, found)
    creation.stamp(PodStep.VALIDATED)

    # What the server gives out, if the kind is given anything.
    settle = await entry.begin(obj, None) if entry.begin is not None else _nothing
    try:
        # Validating admission.
        await context.admission.validate(_attributes(user, target, obj, options))

        # Store.
        creation.stamp(PodStep.STORE)
        stored = await _store(context, entry, obj, generated, options.dry_run)
    except BaseException:
        settle(False)
        raise
    settle(not options.dry_run)
    creation.stamp(PodStep.STORED, stored.object.metadata.resourceVersion)  # type: ignore[attr-defined]
    return entry.view.show(stored)


def _nothing(_stored: bool) -> None:
    pass


def check_namespace(target: Target, obj: Any) -> None:
    """Gives the object the request's namespace. Raises: BadRequest when it has another."""
    meta = obj.metadata
    namespace = target.namespace if target.resource.namespaced else ""
    if meta.namespace == namespace:
        pass
    elif not namespace or not meta.namespace:
        meta.namespace = namespace
    else:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if target.resource.namespaced and not namespace:
        raise errors.bad_request("an empty namespace may not be set during creation")


def _set_system_metadata(context: Context, obj: Any, uid: str) -> bool:
    """What only the server says about an object; True if its name was generated."""
    meta = obj.metadata
    if meta.resourceVersion:
        message = "resourceVersion should not be set on objects to be created"
        raise ApiError(Status(status="Failure", message=message, code=500))
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        meta.ClearField(field)
    meta.uid = uid
    meta.creationTimestamp.seconds = int(context.clock.now().timestamp())
    meta.creationTimestamp.nanos = 0
    if meta.name or not meta.generateName:
        return False
    meta.name = context.generated_name(meta.generateName)
    return True


async def _store(
    context: Context, entry: Entry, obj: Any, generated: bool, dry_run: bool
) -> Version:
    """Creates it; under another name if a generated one is taken."""
    attempts = GENERATED_NAME_ATTEMPTS_MAX if generated else 1
    for attempt in range(attempts):
        try:
            return await entry.store.create(obj, dry_run=dry_run)
        except ApiError as error:
            if error.reason != "AlreadyExists" or not generated:
                raise
            if attempt + 1 < attempts:
                obj.metadata.name = context.generated_name(obj.metadata.generateName)
    resource = entry.view.stored
    raise errors.generate_name_conflict(resource.group, resource.name, obj.metadata.name)


def _attributes(user: UserInfo, target: Target, obj: Message, options: WriteOptions) -> Attributes:
    name: str = obj.metadata.name  # type: ignore[attr-defined]
    named = replace(target, name=name) if target.name != name else target
    return Attributes(user, named, "CREATE", obj, None, options.dry_run)
