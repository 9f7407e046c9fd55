"""Requests of podpath.apiserver.v1 as what the verbs take; ApiError for what makes no sense."""

from typing import Any, cast

import orjson
from google.protobuf.message import DecodeError, Message

from apiserver.registry.subresources import body_of
from apiserver.verbs.interface import BatchItem, Target, WriteOptions
from podpath.api import errors, json_strict, scheme
from podpath.api.errors import ApiError
from podpath.api.scheme import Resource
from protos.k8s.runtime_pb2 import Unknown
from protos.podpath import apiserver_v1_pb2 as api

OBJECT_BYTES_MAX = 3 << 20
"""Of one object's encoding."""


def resource_of(ref: api.ResourceRef) -> Resource[Message]:
    try:
        return scheme.by_resource(ref.group, ref.version, ref.resource)
    except scheme.UnknownKindError:
        raise errors.new("NotFound", "the server could not find the requested resource") from None


def target_of(request: Any) -> Target:
    return Target(
        resource_of(request.resource), request.namespace, request.name, request.subresource
    )


def write_options(
    options: api.WriteOptions, traceparent: str = "", *, force: bool = False
) -> WriteOptions:
    return WriteOptions(options.dry_run, options.field_manager, force, traceparent)


def item_of(request: Any, subresource: str, traceparent: str = "") -> BatchItem:
    """What to write. Raises: ApiError when the object cannot be read."""
    resource = resource_of(request.resource)
    target = Target(resource, request.namespace, request.name, subresource)
    validation = request.options.field_validation
    obj = decode(body_of(resource, subresource), request.object, validation)
    return BatchItem(target, obj, write_options(request.options, traceparent))


def item_or_error(request: Any, subresource: str, traceparent: str = "") -> BatchItem | ApiError:
    try:
        return item_of(request, subresource, traceparent)
    except ApiError as error:
        return error


def decode(resource: Resource[Any], unknown: Unknown, field_validation: str) -> Message:
    check_size(len(unknown.raw))
    meta = unknown.typeMeta
    if (meta.kind or meta.apiVersion) and (
        (meta.apiVersion, meta.kind) != (resource.api_version, resource.kind)
    ):
        raise errors.bad_request(
            f"{resource.kind} in version {resource.api_version} was expected, "
            f"got {meta.kind} in version {meta.apiVersion}"
        )
    try:
        if unknown.contentType == "application/json":
            tree = parse_json(unknown.raw)
            message = json_strict.decode_tree(resource, tree, field_validation)[0]
        else:
            message = resource.message.FromString(unknown.raw)
    except DecodeError as error:
        raise errors.bad_request(f"{resource.kind} cannot be decoded: {error}") from None
    return cast("Message", message)


def parse_json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(f"error decoding JSON: {error}") from None


def check_size(size: int) -> None:
    if size > OBJECT_BYTES_MAX:
        raise errors.too_large(f"limit is {OBJECT_BYTES_MAX}")
