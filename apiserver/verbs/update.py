"""PUT: replaces an object, or the part of it that a subresource stands for.

Source: k8s.io/apiserver pkg/endpoints/handlers/update.go, pkg/registry/rest/update.go,
pkg/registry/generic/registry/store.go (Update).
"""

from collections.abc import Callable
from typing import Any

from apiserver.admission.interface import Attributes
from apiserver.defaulting import apply_defaults
from apiserver.registry import managed_fields
from apiserver.registry.apps import scale
from apiserver.registry.registry import Entry
from apiserver.registry.strategy import Strategy, other_uid
from apiserver.registry.subresources import SCALE
from apiserver.storage.version import ObjectVersion
from apiserver.verbs.context import Context, copy_of
from apiserver.verbs.create import check_namespace, create
from apiserver.verbs.interface import Created, Target, UserInfo, Version, WriteOptions
from podpath.api import errors
from podpath.api.errors import ApiError, FieldError


async def update(
    context: Context, user: UserInfo, target: Target, obj: Any, options: WriteOptions
) -> Version:
    """Stores `obj` in place of what is there. Raises: ApiError."""
    entry = context.registry.entry(target.resource)
    _check_name(target, obj)
    check_namespace(target, obj)

    async def present(_: Any) -> Any:
        if not obj.metadata.resourceVersion and not entry.unconditional_update:
            raise _unconditional(entry, target)
        return copy_of(obj)

    try:
        return await change(context, user, target, present, options)
    except ApiError as error:
        if error.reason != "NotFound" or not _may_create(entry, target, obj):
            raise
    creation = context.begin(user, target, options)
    return Created(await create(context, user, target, obj, options, creation))


def _unconditional(entry: Entry, target: Target) -> ApiError:
    resource = entry.view.stored
    detail = "Invalid value: 0x0: must be specified for an update"
    missing = FieldError("FieldValueInvalid", "metadata.resourceVersion", detail)
    return errors.invalid_object(resource.group, resource.kind, target.name, [missing])


async def change(
    context: Context,
    user: UserInfo,
    target: Target,
    wanted: Any,
    options: WriteOptions,
    *,
    applies: bool = False,
) -> Version:
    """The path of every update and patch. `wanted(shown)` computes the new form of what the
    request's resource shows (a Scale, say); it may run more than once. One that `applies` has set
    the managed fields itself."""
    entry = context.registry.entry(target.resource)
    strategy = strategy_of(entry, target)
    begun: list[Callable[[bool], None]] = []

    async def apply(old: Any) -> Any:
        _settle(begun, stored=False)
        new = await _new(entry, target, wanted, old)
        check_preconditions(entry, new, old)
        _carry_system_metadata(new, old)
        untracked = applies or (new.metadata.managedFields and managed_fields.reset(new, target))
        apply_defaults(entry.view.stored, new)

        # Mutating admission; defaults again, for what it added.
        attributes = Attributes(user, target, "UPDATE", new, old, options.dry_run)
        if await context.admission.mutate(attributes):
            apply_defaults(entry.view.stored, new)

        # Prepare, and validate the object.
        strategy.prepare_for_update(new, old)
        _raise_invalid(entry, strategy, new, old)

        # What the server gives out, if the kind is given anything.
        if entry.begin is not None and not target.subresource:
            begun.append(await entry.begin(new, old))

        # Validating admission.
        await context.admission.validate(attributes)

        # Who manages which fields, where anybody has applied any.
        if old.metadata.managedFields and not untracked:
            managed_fields.track(entry.view.stored, target, options, new, old, context.clock.now())
        return new

    try:
        updated = await entry.store.update(
            target.namespace, target.name, apply, strategy, dry_run=options.dry_run
        )
    except BaseException:
        _settle(begun, stored=False)
        raise
    _settle(begun, stored=not options.dry_run)
    told = entry.on_stored.get(target.subresource)
    if told is not None and not options.dry_run:
        told(updated.version.object, updated.old)
    return show(entry, target, updated.version)


def _settle(begun: list[Callable[[bool], None]], *, stored: bool) -> None:
    while begun:
        begun.pop()(stored)


def strategy_of(entry: Entry, target: Target) -> Strategy:
    """Raises: MethodNotAllowed for a subresource that cannot be updated."""
    try:
        return entry.updates[target.subresource]
    except KeyError:
        resource = target.resource
        name = f"{resource.name}/{target.subresource}"
        raise errors.method_not_supported(resource.group, name, "put") from None


def show(entry: Entry, target: Target, version: Version) -> Version:
    """A stored version as the request's resource and subresource show it."""
    if target.subresource == "scale":
        return ObjectVersion(SCALE, scale.scale_of(entry.view.stored, version.object))
    return entry.view.show(version)


async def _new(entry: Entry, target: Target, wanted: Any, old: Any) -> Any:
    """The whole new object; `wanted` may know only its Scale, or another version of it."""
    if target.subresource == "scale":
        wanted_scale = await wanted(scale.scale_of(entry.view.stored, old))
        if found := scale.validate(wanted_scale):
            raise errors.invalid_object("autoscaling", "Scale", target.name, found)
        new = copy_of(old)
        scale.apply(wanted_scale, new)
        return new
    return entry.view.to_stored(await wanted(entry.view.from_stored(old)))


def check_preconditions(entry: Entry, new: Any, old: Any) -> None:
    """Raises: Conflict when the update was made for another version or another object."""
    resource = entry.view.stored
    name = old.metadata.name
    if new.metadata.uid not in ("", old.metadata.uid):
        cause = other_uid(resource, old, new.metadata.uid)
        raise errors.conflict(resource.group, resource.name, name, cause)
    if new.metadata.resourceVersion not in ("", "0", old.metadata.resourceVersion):
        raise errors.conflict(resource.group, resource.name, name, errors.STALE_OBJECT)


def _carry_system_metadata(new: Any, old: Any) -> None:
    """What no client changes: identity, age, generation, a deletion under way."""
    meta, before = new.metadata, old.metadata
    meta.uid = before.uid
    meta.resourceVersion = before.resourceVersion
    if not meta.creationTimestamp.seconds:
        meta.creationTimestamp.CopyFrom(before.creationTimestamp)
    meta.ClearField("selfLink")
    meta.generation = before.generation
    if not before.HasField("generation"):
        meta.ClearField("generation")
    if before.HasField("deletionTimestamp"):
        meta.deletionTimestamp.CopyFrom(before.deletionTimestamp)
    else:
        meta.ClearField("deletionTimestamp")
    if before.HasField("deletionGracePeriodSeconds"):
        meta.deletionGracePeriodSeconds = before.deletionGracePeriodSeconds
    else:
        meta.ClearField("deletionGracePeriodSeconds")


def _raise_invalid(entry: Entry, strategy: Strategy, new: Any, old: Any) -> None:
    if found := strategy.validate_update(new, old):
        resource = entry.view.stored
        raise errors.invalid_object(resource.group, resource.kind, old.metadata.name, found)


def _check_name(target: Target, obj: Any) -> None:
    name = obj.metadata.name
    if not name:
        obj.metadata.name = target.name
    elif name != target.name:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )


def _may_create(entry: Entry, target: Target, obj: Any) -> bool:
    return entry.created_by_update and not target.subresource and not obj.metadata.resourceVersion
