"""What is wrong with a JSON tree, told as upstream's decoder tells it.

The converters only notice that something is wrong; this walks the tree again, slowly, to say
what and where. Texts: sigs.k8s.io/json (a fork of Go's encoding/json, case-sensitive).
"""

from typing import Any, Self

from google.protobuf.message import Message

from podpath.api.go_fields import GoField, has_type_meta, json_fields
from podpath.api.json_to_wire import field_writer
from podpath.api.json_values import WrongTypeError

PROBLEMS_MAX = 100  # as upstream: no more strict errors than this are kept


class JsonTypeError(ValueError):
    """A JSON value does not fit its field. The message is that of Go's decoder."""

    @classmethod
    def in_struct(cls, value: Any, message: type[Message], path: str, go_type: str) -> Self:
        struct = message.DESCRIPTOR.name
        return cls(
            f"json: cannot unmarshal {_value_name(value, go_type)} into Go struct field "
            f"{struct}.{path} of type {go_type}"
        )

    @classmethod
    def alone(cls, value: Any, go_type: str) -> Self:
        return cls(
            f"json: cannot unmarshal {_value_name(value, go_type)} into Go value of type {go_type}"
        )


def _value_name(value: Any, go_type: str) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value!r}" if go_type.startswith("int") else "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "null"


def unknown_fields(message: type[Message], tree: Any) -> tuple[str, ...]:
    """Paths of keys that the type does not have: `spec.containers[0].imag`."""
    found: list[str] = []
    _walk_unknown(message, tree, "", found)
    return tuple(dict.fromkeys(found))[:PROBLEMS_MAX]


def _walk_unknown(message: type[Message], tree: Any, path: str, found: list[str]) -> None:
    if not isinstance(tree, dict):
        return
    fields = json_fields(message)
    for key, value in tree.items():
        here = f"{path}.{key}" if path else key
        field = fields.get(key)
        if field is None:
            if not (has_type_meta(message) and key in {"kind", "apiVersion"}):
                found.append(here)
        elif field.kind == "message" and field.message is not None:
            for step, child in _children(field, value):
                _walk_unknown(field.message, child, here + step, found)


def _children(field: GoField, value: Any) -> list[tuple[str, Any]]:
    if field.repeated:
        return [(f"[{i}]", item) for i, item in enumerate(value)] if type(value) is list else []
    if field.map:
        return [(f".{k}", item) for k, item in value.items()] if type(value) is dict else []
    return [("", value)]


def first_type_error(
    message: type[Message], tree: Any, error: WrongTypeError | ValueError
) -> JsonTypeError:
    """The error of the first value, in the tree's order, that does not fit."""
    if not isinstance(tree, dict):
        return JsonTypeError.alone(tree, go_type_name(message))
    found = _find(message, tree, "")
    return found or JsonTypeError(str(error))


def _find(message: type[Message], tree: dict[str, Any], path: str) -> JsonTypeError | None:
    fields = json_fields(message)
    for key, value in tree.items():
        field = fields.get(key)
        if field is None or value is None:
            continue
        here = f"{path}.{key}" if path else key
        found = _check(message, field, value, here)
        if found is not None:
            return found
    return None


def _check(owner: type[Message], field: GoField, value: Any, path: str) -> JsonTypeError | None:
    """What is wrong with the value of one field of `owner`."""
    if field.kind == "message" and field.message is not None:
        if type(value) is not _container(field):
            return JsonTypeError.in_struct(value, owner, path, _field_type(field))
        for step, child in _children(field, value):
            if child is None:
                continue
            if type(child) is not dict:
                return JsonTypeError.in_struct(child, owner, path, go_type_name(field.message))
            inner = path + step if field.map else path
            found = _find(field.message, child, inner)
            if found is not None:
                return found
        return None
    try:
        field_writer(field)(value, [])
    except WrongTypeError as error:
        wrong = error.value
        go_type = _field_type(field) if wrong is value else _element_type(field)
        return JsonTypeError.in_struct(wrong, owner, path, error.go_type or go_type)
    except ValueError as error:
        return JsonTypeError(str(error))
    return None


def _container(field: GoField) -> type:
    return list if field.repeated else dict


def go_type_name(message: type[Message]) -> str:
    """`v1.PodSpec`; the package's last part is the version."""
    package = message.DESCRIPTOR.file.package.rpartition(".")[2]
    return f"{package}.{message.DESCRIPTOR.name}"


def _element_type(field: GoField) -> str:
    if field.message is not None and field.kind == "message":
        return go_type_name(field.message)
    names = {"bytes": "[]uint8", "quantity": "resource.Quantity", "items": "[]string"}
    return names.get(field.kind, field.kind)


def _field_type(field: GoField) -> str:
    element = _element_type(field)
    if field.map:
        return "v1.ResourceList" if field.kind == "quantity" else f"map[string]{element}"
    return f"[]{element}" if field.repeated else element
