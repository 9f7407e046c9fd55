"""Sets of field paths as tries: the form of FieldsV1, made regular.

A node maps path elements (`f:spec`, `k:{"name":"a"}`, `v:"x"`) to nodes; the key `.` says that the
path that ends here is itself a member. FieldsV1 writes `{}` for a node that holds nothing but `.`.

Source: sigs.k8s.io/structured-merge-diff fieldpath/{set,serialize,element}.go.
"""

from collections.abc import Iterator
from typing import Any

import orjson

FieldSet = dict[str, Any]
MEMBER = "."


def leaf() -> FieldSet:
    """A node whose path is a member and that has nothing below."""
    return {MEMBER: {}}


def decode(raw: bytes) -> FieldSet:
    """From FieldsV1. Raises: ValueError when it is none."""
    tree = orjson.loads(raw) if raw else {}
    if not isinstance(tree, dict):
        raise ValueError("fieldsV1 is no object")
    return {element: _decode(child) for element, child in tree.items() if element != MEMBER}


def _decode(tree: Any) -> FieldSet:
    if not isinstance(tree, dict):
        raise ValueError("a path element of fieldsV1 holds no object")
    if not tree:
        return leaf()
    return {e: {} if e == MEMBER else _decode(child) for e, child in tree.items()}


def encode(fields: FieldSet) -> bytes:
    """FieldsV1's JSON, in a fixed order."""
    return orjson.dumps(_encode(fields), option=orjson.OPT_SORT_KEYS)


def _encode(fields: FieldSet) -> FieldSet:
    if len(fields) == 1 and MEMBER in fields:
        return {}
    return {e: {} if e == MEMBER else _encode(child) for e, child in fields.items()}


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    merged = dict(left)
    for element, child in right.items():
        present = merged.get(element)
        merged[element] = child if present is None else union(present, child)
    return merged


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """The members of both."""
    found: FieldSet = {}
    for element, child in left.items():
        other = right.get(element)
        if other is None:
            continue
        if element == MEMBER:
            found[MEMBER] = {}
        elif both := intersection(child, other):
            found[element] = both
    return found


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """The members of `left` that are none of `right`."""
    found: FieldSet = {}
    for element, child in left.items():
        other = right.get(element)
        if other is None:
            found[element] = child
        elif element != MEMBER and (rest := difference(child, other)):
            found[element] = rest
    return found


def without(fields: FieldSet, *path: str) -> FieldSet:
    """The set without everything at and under a path."""
    head, *rest = path
    if head not in fields:
        return fields
    kept = dict(fields)
    child = without(kept[head], *rest) if rest else {}
    if child:
        kept[head] = child
    else:
        del kept[head]
    return kept


def paths(fields: FieldSet) -> list[str]:
    """The members as people write them: `.spec.containers[name="c"].image`."""
    return list(_paths(fields, ""))


def _paths(fields: FieldSet, path: str) -> Iterator[str]:
    if MEMBER in fields:
        yield path
    for element in sorted(fields):
        if element != MEMBER:
            yield from _paths(fields[element], path + _text(element))


def _text(element: str) -> str:
    kind, value = element[:2], element[2:]
    if kind == "f:":
        return f".{value}"
    if kind == "k:":
        keys = orjson.loads(value)
        return f"[{','.join(f'{key}={_value(keys[key])}' for key in sorted(keys))}]"
    return f"[={value}]" if kind == "v:" else f"[{value}]"


def _value(value: Any) -> str:
    return orjson.dumps(value).decode()
