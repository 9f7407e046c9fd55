"""How the value at a place of an object is merged: by key, by element, or as a whole.

Source: sigs.k8s.io/structured-merge-diff schema, as the published OpenAPI document fills it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson
from google.protobuf.message import Message

from podpath.api.apply import list_types
from podpath.api.go_fields import GoField, json_fields, per_message


class Form(Enum):
    """LEAF is replaced as a whole, whatever it holds."""

    LEAF = "leaf"
    STRUCT = "struct"
    MAP = "map"
    LIST_MAP = "list of keyed elements"
    SET = "set"


@dataclass(frozen=True, slots=True)
class Shape:
    """`message` describes a STRUCT's or LIST_MAP's elements' fields, `values` a MAP's values;
    `keys` identify the elements of a LIST_MAP."""

    form: Form
    message: type[Message] | None = None
    keys: tuple[str, ...] = ()
    values: "Shape | None" = None

    def child(self, key: str) -> "Shape | None":
        """Of a STRUCT or MAP; None when there is no such field."""
        if self.form is Form.MAP:
            return self.values
        assert self.message is not None
        return _fields(self.message).get(key)

    @property
    def element(self) -> "Shape":
        """Of a LIST_MAP."""
        assert self.message is not None
        return struct(self.message)


LEAF = Shape(Form.LEAF)
SET = Shape(Form.SET)


class UnkeyedElementError(ValueError):
    """An element of a keyed list is no object; the message is upstream's."""


@per_message
def struct(message: type[Message]) -> Shape:
    """The shape of an object of this type."""
    return Shape(Form.STRUCT, message)


@per_message
def _fields(message: type[Message]) -> dict[str, Shape]:
    return {key: _shape(message, key, field) for key, field in json_fields(message).items()}


def _shape(owner: type[Message], key: str, field: GoField) -> Shape:
    place = (owner.DESCRIPTOR.full_name, key)
    if place in list_types.ATOMIC_FIELDS:
        return LEAF
    if field.repeated:
        if place in list_types.SETS:
            return SET
        keys = list_types.MERGED_LISTS.get(place)
        return Shape(Form.LIST_MAP, field.message, keys) if keys else LEAF
    value = LEAF
    if field.kind == "message" and field.message is not None:
        atomic = field.message.DESCRIPTOR.full_name in list_types.ATOMIC_MESSAGES
        if not atomic or place in list_types.GRANULAR_FIELDS:
            value = struct(field.message)
    return Shape(Form.MAP, values=value) if field.map else value


def _key_default(shape: Shape, key: str) -> Any:
    """What upstream takes for a key that an element leaves out."""
    assert shape.message is not None
    number = json_fields(shape.message)[key].kind in ("int32", "int64")
    return 0 if number else list_types.KEY_DEFAULTS.get(key, "")


def element_of(item: Any, shape: Shape) -> str:
    """The path element of a list's item: `k:{"name":"a"}`, `v:"x"`.

    Raises: UnkeyedElementError.
    """
    if shape.form is Form.SET:
        return "v:" + orjson.dumps(item).decode()
    if not isinstance(item, dict):
        raise UnkeyedElementError("associative list with keys may not have non-map elements")
    values = {key: item.get(key) for key in shape.keys}
    for key, value in values.items():
        if value is None:
            values[key] = _key_default(shape, key)
    return "k:" + orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()
