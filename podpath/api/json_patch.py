"""JSON patch, RFC 6902, with the leniency of the library that upstream uses.

There `replace` adds a missing key, an index counts from the end when negative, and `copy` of a
missing key copies null.

Source: evanphx/json-patch v4, k8s.io/apiserver pkg/endpoints/handlers/patch.go.
"""

from copy import deepcopy
from typing import Any

from podpath.api.patch_errors import PatchFormatError, PatchRejectedError, type_name

OPERATIONS_MAX = 10_000  # as upstream: a longer patch is refused

_MISSING: Any = object()


def apply(tree: Any, document: Any) -> Any:
    """Carries out the operations on `tree`, which is changed.

    Raises: PatchFormatError, PatchRejectedError; the object is then not to be used.
    """
    _check_format(document)
    for operation in document:
        _apply_one(tree, operation)
    return tree


def _check_format(document: Any) -> None:
    if not isinstance(document, list):
        _refuse(document, "[]handlers.jsonPatchOp")
    for operation in document:
        if not isinstance(operation, dict):
            _refuse(operation, "handlers.jsonPatchOp")
    if len(document) > OPERATIONS_MAX:
        raise PatchFormatError(
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got "
            f"{len(document)}"
        )


def _refuse(value: Any, go_type: str) -> None:
    raise PatchFormatError(
        f"error decoding patch: json: cannot unmarshal {type_name(value)} into Go value of type "
        f"{go_type}"
    )


def _apply_one(tree: Any, operation: dict[str, Any]) -> None:
    name = operation.get("op")
    parent, key = _find(tree, operation.get("path"))
    match name:
        case "add":
            _add(parent, key, deepcopy(operation.get("value")))
        case "remove":
            _remove(parent, key)
        case "replace":
            _replace(parent, key, deepcopy(operation.get("value")))
        case "test":
            _test(parent, key, operation.get("value", _MISSING))
        case "move":
            source, source_key = _find(tree, operation.get("from"))
            value = _get(source, source_key)
            _remove(source, source_key)
            parent, key = _find(tree, operation.get("path"))
            _add(parent, key, value)
        case "copy":
            source, source_key = _find(tree, operation.get("from"))
            _add(parent, key, deepcopy(_get(source, source_key)))
        case _:
            raise PatchRejectedError(f"Unexpected kind: {name}")


def _find(tree: Any, pointer: Any) -> tuple[Any, str]:
    """The container that a pointer leads into, and its last key."""
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise PatchRejectedError(f"invalid path: {pointer}")
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for step in steps:
        tree = _get(tree, step)
    if not isinstance(tree, dict | list):
        raise PatchRejectedError(f"doc is missing path: {pointer}")
    return tree, last


def _index(items: list[Any], key: str, end: int) -> int:
    try:
        index = int(key)
    except ValueError:
        raise PatchRejectedError(f"invalid array index: {key}") from None
    if not -len(items) <= index < end:
        raise PatchRejectedError(f"Unable to access invalid index: {key}")
    return index


def _get(parent: Any, key: str) -> Any:
    if isinstance(parent, dict):
        return parent.get(key)
    if isinstance(parent, list):
        return parent[_index(parent, key, len(parent))]
    raise PatchRejectedError(f"doc is missing path: {key}")


def _add(parent: Any, key: str, value: Any) -> None:
    if isinstance(parent, dict):
        parent[key] = value
    elif key == "-":
        parent.append(value)
    else:
        parent.insert(_index(parent, key, len(parent) + 1), value)


def _replace(parent: Any, key: str, value: Any) -> None:
    if isinstance(parent, dict):
        parent[key] = value
    else:
        parent[_index(parent, key, len(parent))] = value


def _remove(parent: Any, key: str) -> None:
    if isinstance(parent, list):
        del parent[_index(parent, key, len(parent))]
    elif key in parent:
        del parent[key]
    else:
        raise PatchRejectedError(f"Unable to remove nonexistent key: {key}")


def _test(parent: Any, key: str, value: Any) -> None:
    found = _get(parent, key)
    if value is _MISSING or not _same(found, value):
        raise PatchRejectedError(f"testing value {key} failed")


def _same(left: Any, right: Any) -> bool:
    """Deep equality in which true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right) and isinstance(left, bool) is isinstance(right, bool)
