"""Whether two messages mean the same, as upstream's semantic comparison of Go structs tells it.

Protobuf tells a field that is set to its zero value from one that is not set; Go does so for
pointers only. A message that has been through JSON may have lost that difference, and must not
look like a change.
"""

from typing import Any, TypeVar

from google.protobuf.message import Message

from podpath.api.go_fields import GoField, go_fields

MessageT = TypeVar("MessageT", bound=Message)


def equal(one: MessageT, other: MessageT) -> bool:
    """True if all fields are the same; presence counts for pointers only."""
    # The common case is decided without a look at single fields.
    return one == other or all(_same_field(field, one, other) for field in go_fields(type(one)))


def _same_field(field: GoField, one: Any, other: Any) -> bool:
    a, b = getattr(one, field.name), getattr(other, field.name)
    if field.map:
        return len(a) == len(b) and all(key in b and _same(a[key], b[key]) for key in a)
    if field.repeated:
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if field.pointer and one.HasField(field.name) != other.HasField(field.name):
        return False
    return _same(a, b)


def _same(a: Any, b: Any) -> bool:
    return equal(a, b) if isinstance(a, Message) else bool(a == b)
