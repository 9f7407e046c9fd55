"""Objects between their messages and runtime.Unknown, and what every object has: its metadata.

Built-in kinds are protobuf messages. A custom resource will be a JSON tree behind the same
functions; until then an unknown kind is an error here and nowhere else.

Source: k8s.io/apimachinery pkg/runtime/types.go, pkg/apis/meta/v1/controller_ref.go.
"""

from collections.abc import Iterable
from typing import Any, cast

import orjson
from google.protobuf.message import DecodeError, Message

from podpath.api import errors, json_codec, scheme
from podpath.api.scheme import ObjectT, Resource
from protos.k8s.core_v1_pb2 import ObjectReference
from protos.k8s.meta_v1_pb2 import ObjectMeta, OwnerReference, Status
from protos.k8s.runtime_pb2 import TypeMeta, Unknown

PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON = "application/json"


def encode(resource: Resource[Any], message: Message, content_type: str = "") -> Unknown:
    """The message in its envelope. `content_type` is empty (protobuf) or `application/json`."""
    if content_type == JSON:
        raw = json_codec.json_bytes(resource, message)
    else:
        raw = message.SerializeToString(deterministic=True)
    return envelope(resource.api_version, resource.kind, raw, content_type)


def envelope(api_version: str, kind: str, raw: bytes, content_type: str = "") -> Unknown:
    """An Unknown with every field that upstream's encoder writes."""
    return Unknown(
        typeMeta=TypeMeta(apiVersion=api_version, kind=kind),
        raw=raw,
        contentEncoding="",
        contentType=content_type,
    )


def encode_status(status: Status) -> Unknown:
    """A Status, which is no resource, in its envelope."""
    return envelope("v1", "Status", status.SerializeToString(deterministic=True))


def resource_of(unknown: Unknown) -> Resource[Message]:
    """The resource whose kind the envelope names. Raises: ApiError (BadRequest)."""
    api_version, kind = unknown.typeMeta.apiVersion, unknown.typeMeta.kind
    try:
        return scheme.by_kind(api_version, kind)
    except scheme.UnknownKindError:
        raise errors.bad_request(
            f'no kind "{kind}" is registered for version "{api_version}"'
        ) from None


def decode(unknown: Unknown) -> tuple[Resource[Message], Message]:
    """The object in an envelope. Raises: ApiError (BadRequest)."""
    resource = resource_of(unknown)
    return resource, decode_raw(resource, unknown.raw, unknown.contentType)


def decode_as(resource: Resource[ObjectT], unknown: Unknown) -> ObjectT:
    """The object in an envelope that must hold this kind. Raises: ApiError (BadRequest).

    An envelope without a type is taken at its word: it holds what was asked for.
    """
    kind, api_version = unknown.typeMeta.kind, unknown.typeMeta.apiVersion
    if (kind or api_version) and (kind, api_version) != (resource.kind, resource.api_version):
        raise errors.bad_request(
            f'{kind} in version "{api_version}" cannot be handled as a {resource.kind}'
        )
    return decode_raw(resource, unknown.raw, unknown.contentType)


def decode_raw(resource: Resource[ObjectT], raw: bytes, content_type: str = "") -> ObjectT:
    """A message from its bytes. Raises: ApiError (BadRequest)."""
    if content_type == JSON:
        try:
            return json_codec.from_json(resource.message, orjson.loads(raw)).message
        except ValueError as error:
            raise errors.bad_request(str(error)) from None
    if content_type not in {"", PROTOBUF}:
        raise errors.bad_request(f"the content type {content_type!r} is not supported")
    try:
        return resource.message.FromString(raw)
    except DecodeError as error:
        raise errors.bad_request(f"{resource.kind} cannot be decoded: {error}") from None


def metadata(message: Message) -> ObjectMeta:
    """The object's metadata; changes to it change the object."""
    return cast("scheme.KubeObject", message).metadata


def namespaced_key(message: Message) -> str:
    """`namespace/name`, or the name alone for cluster-scoped objects."""
    meta = metadata(message)
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


def split_key(key: str) -> tuple[str, str]:
    """Namespace (may be empty) and name of a namespaced key."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def controller_of(message: Message) -> OwnerReference | None:
    """The owner that controls the object; at most one may."""
    for reference in metadata(message).ownerReferences:
        if reference.controller:
            return reference
    return None


def is_controlled_by(message: Message, owner: Message) -> bool:
    reference = controller_of(message)
    return reference is not None and reference.uid == metadata(owner).uid


def controller_reference(resource: Resource[Any], owner: Message) -> OwnerReference:
    """What an object that `owner` controls says of it."""
    meta = metadata(owner)
    return OwnerReference(
        kind=resource.kind,
        name=meta.name,
        uid=meta.uid,
        apiVersion=resource.api_version,
        controller=True,
        blockOwnerDeletion=True,
    )


def reference_to(
    resource: Resource[Any], message: Message, field_path: str = ""
) -> ObjectReference:
    """What an Event says of the object it is about."""
    meta = metadata(message)
    return ObjectReference(
        kind=resource.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        apiVersion=resource.api_version,
        resourceVersion=meta.resourceVersion,
        fieldPath=field_path,
    )


def copy_of(message: ObjectT) -> ObjectT:
    """A copy that may be changed: what caches and watches hand out may not."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def without_managed_fields(messages: Iterable[Message]) -> None:
    """Drops what only apply uses and readers seldom want, in place."""
    for message in messages:
        metadata(message).ClearField("managedFields")
