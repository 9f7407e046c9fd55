"""Kubernetes' JSON to and from protobuf messages, exactly as upstream's Go code does both.

`google.protobuf.json_format` does not fit: quantities, times, int-or-string, inlined structs and
the rules of `omitempty` are Go's, not protobuf's. The converters are compiled on first use from
the descriptors and (podpath.k8s.go).

Messages made from JSON hold every field that upstream's encoder always writes, so they serialise
to the bytes that a Go client would send.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from google.protobuf.message import Message

from podpath.api.go_fields import has_type_meta
from podpath.api.json_from_wire import reader
from podpath.api.json_problems import JsonTypeError, first_type_error, unknown_fields
from podpath.api.json_to_wire import template, writer
from podpath.api.json_values import WrongTypeError
from podpath.api.scheme import Resource

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Decoded(Generic[MessageT]):
    """A message read from JSON, and the paths of the keys that its type does not know."""

    message: MessageT
    unknown_fields: tuple[str, ...] = ()


def to_json(message: Message) -> dict[str, Any]:
    """The JSON tree of a message, without kind and apiVersion."""
    data = message.SerializeToString(deterministic=True)
    tree: dict[str, Any] = reader(type(message))(data, 0, len(data))
    return tree


def wire_to_json(message: type[Message], data: bytes) -> dict[str, Any]:
    """Like `to_json`, from bytes that are at hand already."""
    tree: dict[str, Any] = reader(message)(data, 0, len(data))
    return tree


def to_json_object(resource: Resource[Any] | tuple[str, str], message: Message) -> dict[str, Any]:
    """The JSON object of a message; `resource` may be (apiVersion, kind) instead."""
    api_version, kind = _names(resource)
    return {"kind": kind, "apiVersion": api_version, **to_json(message)}


def json_bytes(resource: Resource[Any] | tuple[str, str], message: Message) -> bytes:
    """The JSON object as bytes, without a newline."""
    return orjson.dumps(to_json_object(resource, message))


def wire_to_json_bytes(
    resource: Resource[Any] | tuple[str, str], message: type[Message], data: bytes
) -> bytes:
    """Like `json_bytes`, from the message's bytes."""
    api_version, kind = _names(resource)
    return orjson.dumps({"kind": kind, "apiVersion": api_version, **wire_to_json(message, data)})


def _names(resource: Resource[Any] | tuple[str, str]) -> tuple[str, str]:
    if isinstance(resource, tuple):
        return resource
    return resource.api_version, resource.kind


def wire_from_json(message: type[Message], tree: Any) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a message (not in field order) and the unknown keys' paths.

    Raises: JsonTypeError with the text of Go's decoder.
    """
    unknown: list[str] = []
    if type(tree) is dict and ("kind" in tree or "apiVersion" in tree):
        tree = _without_type_meta(message, tree)
    try:
        data = writer(message)(tree, unknown)
    except (WrongTypeError, ValueError) as error:
        raise first_type_error(message, tree, error) from None
    if unknown:
        return data, unknown_fields(message, tree)
    return data, ()


def _without_type_meta(message: type[Message], tree: dict[str, Any]) -> dict[str, Any]:
    """Kind and apiVersion are the envelope's, unless the message has fields of these names."""
    names = message.DESCRIPTOR.fields_by_name
    if "kind" in names or "apiVersion" in names:
        return tree
    for key in ("kind", "apiVersion"):
        value = tree.get(key)
        if value is not None and type(value) is not str:
            raise JsonTypeError.in_struct(value, message, key, "string")
    return {key: value for key, value in tree.items() if key not in {"kind", "apiVersion"}}


def from_json(message: type[MessageT], tree: Any) -> Decoded[MessageT]:
    """The message that a JSON tree says. Keys it does not know are named, and otherwise ignored.

    Raises: JsonTypeError (a ValueError) with the text of Go's decoder.
    """
    data, unknown = wire_from_json(message, tree)
    return Decoded(message.FromString(data), unknown)


def new(message: type[MessageT]) -> MessageT:
    """An empty message that holds what upstream's encoder always writes."""
    return message.FromString(template(message))


def normalised(message: MessageT) -> MessageT:
    """A copy that holds, at every level, what upstream's encoder always writes.

    For messages that were made field by field and have to match a Go client's bytes.
    """
    return from_json(type(message), to_json(message)).message


__all__ = [
    "Decoded",
    "JsonTypeError",
    "from_json",
    "has_type_meta",
    "json_bytes",
    "new",
    "normalised",
    "to_json",
    "to_json_object",
    "wire_from_json",
    "wire_to_json",
    "wire_to_json_bytes",
]
