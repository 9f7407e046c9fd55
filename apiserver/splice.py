"""Builds podpath.apiserver.v1 responses from bytes that are there already.

An embedded message and a `bytes` field have the same wire form, so an object that was serialised
once is copied into each response as it is. Field numbers: protos/podpath/apiserver_v1.proto.
"""

from collections.abc import Iterable, Sequence

from apiserver.verbs.interface import ListResult, Version, WatchEvent
from podpath.api.errors import ApiError
from protos.podpath.apiserver_v1_pb2 import ListResponse, WatchEventType

_EVENT_TYPES = {
    name: b"\x08" + bytes([number]) for name, number in WatchEventType.items() if number
}
_LIST_ITEM = b"\x22"  # field 4, length-delimited
_EVENT = b"\x0a"  # field 1
_EVENT_OBJECT = b"\x12"  # field 2
_RESULT = b"\x0a"  # field 1
_RESULT_OBJECT = b"\x0a"  # field 1
_RESULT_STATUS = b"\x12"  # field 2


def varint(value: int) -> bytes:
    """Protobuf's encoding of a length."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def list_response(result: ListResult) -> bytes:
    """A ListResponse."""
    head = ListResponse(
        resource_version=result.resource_version, continue_token=result.continue_token
    )
    if result.remaining_item_count is not None:
        head.remaining_item_count = result.remaining_item_count
    parts = [head.SerializeToString()]
    for version in result.items:
        data = version.unknown_bytes
        parts += (_LIST_ITEM, varint(len(data)), data)
    return b"".join(parts)


def watch_response(events: Iterable[WatchEvent]) -> bytes:
    """A WatchResponse that holds all the events."""
    parts: list[bytes] = []
    for event in events:
        kind = _EVENT_TYPES[event.type]
        data = event.version.unknown_bytes
        size = varint(len(data))
        length = len(kind) + 1 + len(size) + len(data)
        parts += (_EVENT, varint(length), kind, _EVENT_OBJECT, size, data)
    return b"".join(parts)


def batch_response(results: Sequence[Version | ApiError | bytes]) -> bytes:
    """A BatchResponse; `bytes` are a serialised Status."""
    parts: list[bytes] = []
    for result in results:
        if isinstance(result, bytes):
            tag, data = _RESULT_STATUS, result
        elif isinstance(result, ApiError):
            tag, data = _RESULT_STATUS, result.status.SerializeToString()
        else:
            tag, data = _RESULT_OBJECT, result.unknown_bytes
        size = varint(len(data))
        parts += (_RESULT, varint(1 + len(size) + len(data)), tag, size, data)
    return b"".join(parts)
