"""What stands in etcd under a key: upstream's `k8s\\0` + runtime.Unknown, plus the group index.

A value that went alone (index 0) is byte for byte what Kubernetes writes. Custom resources are
stored as their JSON text, without an envelope, as upstream does.

Source: k8s.io/apimachinery pkg/runtime/serializer/protobuf; podpath's addition: ADR 0001.
"""

import orjson

from apiserver.storage.interface import StorageError, Value
from protos.podpath.storage_v1_pb2 import StoredUnknown

_MAGIC = b"k8s\0"
JSON_CONTENT_TYPE = "application/json"


class UndecodableValueError(StorageError):
    """Bytes in the store that are neither an envelope nor a JSON object."""


def can_hold_index(value: Value) -> bool:
    """False for plain JSON, which has no room for a group index."""
    return value.content_type != JSON_CONTENT_TYPE


def encode(value: Value, index: int) -> bytes:
    """The bytes to store for member `index` of a group."""
    if value.content_type == JSON_CONTENT_TYPE:
        if index:
            raise ValueError("a JSON value cannot be a group's later member")
        return value.raw
    # Upstream always writes the two last strings, empty ones too.
    stored = StoredUnknown(raw=value.raw, contentEncoding="", contentType=value.content_type)
    stored.typeMeta.apiVersion = value.api_version
    stored.typeMeta.kind = value.kind
    if index:
        stored.groupIndex = index
    return _MAGIC + stored.SerializeToString()


def decode(data: bytes) -> tuple[Value, int]:
    """The value and its index in the group. Raises: UndecodableValueError."""
    if not data.startswith(_MAGIC):
        return _decode_json(data), 0
    try:
        stored = StoredUnknown.FromString(data[len(_MAGIC) :])
    except Exception as error:  # upb raises its own DecodeError class
        raise UndecodableValueError(f"not a runtime.Unknown: {error}") from error
    meta = stored.typeMeta
    value = Value(meta.apiVersion, meta.kind, stored.raw, stored.contentType)
    return value, stored.groupIndex


def decode_or_raw(data: bytes) -> tuple[Value, int]:
    """Like `decode`, but what cannot be decoded comes back raw, of no kind: in a watch or as the
    winner of a conflict it must not stop the values around it."""
    try:
        return decode(data)
    except UndecodableValueError:
        return Value("", "", data), 0


def _decode_json(data: bytes) -> Value:
    try:
        tree = orjson.loads(data)
        return Value(tree["apiVersion"], tree["kind"], data, JSON_CONTENT_TYPE)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UndecodableValueError(f"neither `k8s\\0` nor a JSON object: {error}") from error
