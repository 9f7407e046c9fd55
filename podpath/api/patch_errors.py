"""Why a patch cannot be applied. The messages are upstream's."""

from typing import Any


class PatchFormatError(ValueError):
    """The document is not a patch of this type (400)."""


class PatchRejectedError(ValueError):
    """The patch does not apply to the object (422)."""


class StrategicPatchError(ValueError):
    """A strategic merge patch that cannot be carried out (500, as upstream has it)."""


def type_name(value: Any) -> str:
    """The JSON type of a value, as Go's decoder names it."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else "null"


def go_type(value: Any) -> str:
    """The Go type of a decoded JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "[]interface {}"
    return "map[string]interface {}" if isinstance(value, dict) else "<nil>"


def go_print(value: Any) -> str:
    """Go's `%v` of a decoded JSON value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_print(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_print, value))}]"
    return "<nil>" if value is None else str(value)
