"""Server-side apply: a manager says which fields it wants, the server keeps who has which.

Source: k8s.io/apiserver pkg/endpoints/handlers/patch.go (applyPatcher),
k8s.io/apimachinery pkg/util/managedfields.
"""

from typing import Any

import orjson

from apiserver.registry import managed_fields
from apiserver.registry.subresources import body_of
from apiserver.verbs.context import Context, copy_of
from apiserver.verbs.create import create
from apiserver.verbs.interface import Created, Target, UserInfo, Version, WriteOptions
from apiserver.verbs.update import change
from podpath.api import errors, json_codec
from podpath.api.apply import managers, trees
from podpath.api.apply.managers import Manager
from podpath.api.apply.shapes import struct
from podpath.api.errors import ApiError
from podpath.api.scheme import Resource
from protos.k8s.meta_v1_pb2 import Status

APPLY = "application/apply-patch+yaml"


async def apply(
    context: Context, user: UserInfo, target: Target, config: Any, options: WriteOptions
) -> Version:
    """Stores what applying `config` makes of the object, which may not be there yet.

    Raises: ApiError; Conflict with a cause for each field that another manager has with another
    value, unless forced.
    """
    resource = body_of(target.resource, target.subresource)
    if (
        resource is not target.resource
        or resource is not context.registry.entry(target.resource).view.stored
    ):
        raise errors.unsupported_media_type(
            f"server-side apply of {resource.kind} ({resource.api_version}) is not served"
        )
    config = _checked(resource, target, config)
    manager = Manager(options.field_manager, managers.APPLY, "", target.subresource)

    async def applied(shown: Any) -> Any:
        return _apply(context, resource, target, config, manager, options, shown)

    try:
        return await change(context, user, target, applied, options, applies=True)
    except ApiError as error:
        missing = error.reason == "NotFound" and error.status.details.kind == resource.name
        if not missing or target.subresource:
            raise
    if config["metadata"].get("uid"):
        cause = f"uid mismatch: the provided object specified uid {config['metadata']['uid']}"
        raise errors.conflict(
            resource.group, resource.name, target.name, f"{cause}, and no existing object was found"
        )
    return await _create(context, user, target, config, manager, options)


def _apply(
    context: Context,
    resource: Resource[Any],
    target: Target,
    config: dict[str, Any],
    manager: Manager,
    options: WriteOptions,
    shown: Any,
) -> Any:
    uid = config["metadata"].get("uid")
    if uid and uid != shown.metadata.uid:
        wrong = errors.invalid("metadata.uid", uid, "field is immutable")
        raise errors.invalid_object(resource.group, resource.kind, target.name, [wrong, wrong])
    live = managed_fields.tree_of(shown)
    before = managed_fields.read(shown)
    now_s = int(context.clock.now().timestamp())
    result = managers.apply(
        resource, live, config, before, manager, force=options.force, now_s=now_s
    )
    if result.tree == live:
        new = copy_of(shown)
    else:
        new = _message(resource, result.tree)
        check_name(target, new)
    if wanted_version := config["metadata"].get("resourceVersion"):
        new.metadata.resourceVersion = wanted_version
    if result.tree != live or result.managers != before:
        managed_fields.write(new, result.managers)
    return new


async def _create(
    context: Context,
    user: UserInfo,
    target: Target,
    config: dict[str, Any],
    manager: Manager,
    options: WriteOptions,
) -> Version:
    resource: Resource[Any] = target.resource
    obj = _message(resource, config)
    fields = managers.managed(config, resource, target.subresource)
    now_s = int(context.clock.now().timestamp())
    managed_fields.write(obj, {manager: managers.Owned(fields, resource.api_version, now_s)})
    # Only now is it known that the request, which passed the first stages long ago, creates.
    creation = context.begin(user, target, options)
    creation.authorized(user)
    version = await create(context, user, target, obj, options, creation, applies=True)
    creation.responded(version)
    return Created(version)


def _checked(resource: Resource[Any], target: Target, config: Any) -> dict[str, Any]:
    """The configuration, once it is one. Raises: ApiError."""
    if not isinstance(config, dict):
        raise errors.bad_request("error decoding YAML: an object was expected")
    version, kind = str(config.get("apiVersion") or ""), str(config.get("kind") or "")
    if (version, kind) != (resource.api_version, resource.kind):
        version = version if "/" in version else f"/{version}"
        raise errors.bad_request(f"invalid object type: {version}, Kind={kind}")
    meta = config.get("metadata")
    meta = dict(meta) if isinstance(meta, dict) else {}
    if meta.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    meta.pop("managedFields", None)
    shown_name = f"{meta.get('namespace', '')}/{meta.get('name', '')}"
    meta.setdefault("name", target.name)
    if target.resource.namespaced:
        meta.setdefault("namespace", target.namespace)
    checked: dict[str, Any] = {**config, "metadata": meta}
    try:
        trees.check(checked, struct(resource.message))
    except trees.TypeMismatchError as error:
        raise _failure(
            f"failed to create typed patch object ({shown_name}; {resource.group}/"
            f"{resource.version}, Kind={resource.kind}): {error}"
        ) from None
    check_name(target, _message(resource, checked))
    return checked


def _message(resource: Resource[Any], tree: dict[str, Any]) -> Any:
    """Raises: ApiError when the tree does not fit the kind."""
    try:
        return json_codec.from_json(resource.message, tree).message
    except json_codec.JsonTypeError as error:
        text = orjson.dumps(tree).decode()
        found = errors.invalid("patch", text, str(error))
        raise errors.invalid_object("", "", "", [found]) from None


def _failure(message: str) -> ApiError:
    """What upstream has no reason for: a 500."""
    return ApiError(Status(status="Failure", message=message, code=500))


def check_name(target: Target, new: Any) -> None:
    """Raises: BadRequest when the patch renames or moves the object."""
    for field, expected in (("name", target.name), ("namespace", target.namespace)):
        given = getattr(new.metadata, field)
        if given != expected:
            raise errors.bad_request(
                f"the {field} of the object ({given}) does not match the {field} on the URL "
                f"({expected})"
            )
