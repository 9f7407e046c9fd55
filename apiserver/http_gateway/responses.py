"""Objects, lists and errors as responses, in the encoding that was negotiated.

Encoded objects are spliced into lists and watch frames: the bytes of a version are made once.

Source: k8s.io/apiserver pkg/endpoints/handlers/responsewriters.
"""

from collections.abc import Sequence
from typing import Any

import orjson
import yaml
from google.protobuf.message import Message

from apiserver.http_gateway.negotiation import JSON, PROTOBUF, YAML, error_media_type
from apiserver.http_gateway.reply import Reply
from apiserver.verbs.interface import ListResult, Version
from podpath.api import json_codec
from podpath.api.errors import ApiError
from podpath.api.scheme import Resource
from podpath.api.wire import read_varint, varint
from protos.k8s.meta_v1_pb2 import ListMeta, Status
from protos.k8s.runtime_pb2 import TypeMeta, Unknown

PROTOBUF_MAGIC = b"k8s\x00"
STATUS_NAMES = ("v1", "Status")
_FIELD_2_BYTES = b"\x12"  # field 2, length-delimited: raw in Unknown, items in every list


def object_reply(status: int, version: Version, media_type: str) -> Reply:
    return Reply(status, object_bytes(version, media_type), media_type)


def object_bytes(version: Version, media_type: str) -> bytes:
    if media_type == JSON:
        return version.json_bytes + b"\n"
    if media_type == PROTOBUF:
        return PROTOBUF_MAGIC + version.unknown_bytes
    return yaml_bytes(orjson.loads(version.json_bytes))


def tree_bytes(tree: Any, media_type: str) -> bytes:
    """A JSON tree that has no protobuf form here: Table, discovery documents."""
    if media_type == YAML:
        return yaml_bytes(tree)
    return orjson.dumps(tree) + b"\n"


def yaml_bytes(tree: Any) -> bytes:
    text: str = yaml.safe_dump(tree, allow_unicode=True)
    return text.encode()


def list_bytes(resource: Resource[Message], result: ListResult, media_type: str) -> bytes:
    if media_type == PROTOBUF:
        return _protobuf_list(resource, result)
    body = _json_list(resource, result)
    return yaml_bytes(orjson.loads(body)) if media_type == YAML else body


def list_metadata(result: ListResult) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": result.resource_version}
    if result.continue_token:
        metadata["continue"] = result.continue_token
    if result.remaining_item_count is not None:
        metadata["remainingItemCount"] = result.remaining_item_count
    return metadata


def _json_list(resource: Resource[Message], result: ListResult) -> bytes:
    """Items stand in a typed list without kind and apiVersion, as upstream writes them."""
    head = orjson.dumps(
        {
            "kind": resource.list_kind,
            "apiVersion": resource.api_version,
            "metadata": list_metadata(result),
        }
    )
    prefix = f'{{"kind":"{resource.kind}","apiVersion":"{resource.api_version}",'.encode()
    skipped = len(prefix)
    parts: list[bytes | memoryview] = [head[:-1], b',"items":[']
    separator = b"{"
    for version in result.items:
        encoded = version.json_bytes
        if encoded.startswith(prefix):
            parts += (separator, memoryview(encoded)[skipped:])
        else:
            parts += (separator[:-1], encoded)
        separator = b",{"
    parts.append(b"]}\n")
    return b"".join(parts)


def _protobuf_list(resource: Resource[Message], result: ListResult) -> bytes:
    metadata = ListMeta(selfLink="", resourceVersion=result.resource_version)
    setattr(metadata, "continue", result.continue_token)
    if result.remaining_item_count is not None:
        metadata.remainingItemCount = result.remaining_item_count
    encoded = metadata.SerializeToString()
    parts: list[bytes | memoryview] = [b"\x0a", varint(len(encoded)), encoded]
    for version in result.items:
        raw = raw_of_unknown(version.unknown_bytes)
        parts += (_FIELD_2_BYTES, varint(len(raw)), raw)
    return wrap_unknown(resource.api_version, resource.list_kind, b"".join(parts))


def wrap_unknown(api_version: str, kind: str, raw: bytes) -> bytes:
    """A protobuf body: the magic and an Unknown, fields written as upstream's encoder does."""
    unknown = Unknown(
        typeMeta=TypeMeta(apiVersion=api_version, kind=kind),
        raw=raw,
        contentEncoding="",
        contentType="",
    )
    return PROTOBUF_MAGIC + unknown.SerializeToString()


def raw_of_unknown(encoded: bytes) -> memoryview:
    """The object's own bytes inside a serialised Unknown, without copying it.

    The encoder writes typeMeta first, then raw; anything else is parsed in full.
    """
    view = memoryview(encoded)
    if encoded[:1] == b"\x0a":
        length, start = read_varint(encoded, 1)
        raw_at = start + length
        if encoded[raw_at : raw_at + 1] == _FIELD_2_BYTES:
            length, start = read_varint(encoded, raw_at + 1)
            return view[start : start + length]
    return memoryview(Unknown.FromString(encoded).raw)


def status_bytes(status: Status, media_type: str) -> bytes:
    if media_type == PROTOBUF:
        raw = json_codec.normalised(status).SerializeToString()
        return wrap_unknown("v1", "Status", raw)
    shown = Status()
    shown.CopyFrom(status)
    shown.metadata.SetInParent()
    return tree_bytes(json_codec.to_json_object(STATUS_NAMES, shown), media_type)


def status_reply(status: Status, media_type: str, code: int = 200) -> Reply:
    return Reply(status.code or code, status_bytes(status, media_type), media_type)


def error_reply(error: ApiError, accept: str = "") -> Reply:
    """An error in the client's encoding, with Retry-After where the Status says when to retry."""
    status = error.status
    media_type = error_media_type(accept)
    reply = Reply(status.code or 500, status_bytes(status, media_type), media_type)
    if status.details.retryAfterSeconds:
        reply.add_header("Retry-After", str(status.details.retryAfterSeconds))
    return reply


def add_warnings(reply: Reply, warnings: Sequence[str]) -> None:
    """Warning headers as RFC 7234 has them: `299 - "text"`."""
    for text in dict.fromkeys(warnings):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        reply.add_header("Warning", f'299 - "{quoted}"')


NOT_FOUND_TEXT = b"404 page not found\n"


def path_not_found() -> Reply:
    """What upstream's mux says of a path that leads nowhere."""
    return Reply(404, NOT_FOUND_TEXT, "text/plain; charset=utf-8")
