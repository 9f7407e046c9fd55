"""Walks over JSON trees that know their shapes: which fields a tree sets, merging, comparing,
taking away.

Source: sigs.k8s.io/structured-merge-diff typed/{tofieldset,merge,compare,remove}.go.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from podpath.api.apply import field_sets
from podpath.api.apply.field_sets import MEMBER, FieldSet
from podpath.api.apply.shapes import LEAF, Form, Shape, UnkeyedElementError, element_of
from podpath.api.patch_errors import go_print

Tree = dict[str, Any]
_TYPE_META = ("apiVersion", "kind")


class TypeMismatchError(ValueError):
    """A tree does not fit its type; the message says where, in upstream's words."""


def check(tree: Tree, shape: Shape) -> None:
    """Raises: TypeMismatchError for the first field or element that the type does not have."""
    _check({k: v for k, v in tree.items() if k not in _TYPE_META}, shape, "")


def _check(value: Any, shape: Shape, path: str) -> None:
    if value is None or shape.form is Form.LEAF:
        return
    if shape.form in (Form.STRUCT, Form.MAP):
        _check_object(value, shape, path)
    else:
        _check_list(value, shape, path)


def _check_object(value: Any, shape: Shape, path: str) -> None:
    if not isinstance(value, dict):
        raise TypeMismatchError(f"{path}: expected map, got {_shown(value)}")
    for key, child in value.items():
        below = shape.child(key)
        if below is None:
            raise TypeMismatchError(f"{path}.{key}: field not declared in schema")
        _check(child, below, f"{path}.{key}")


def _check_list(value: Any, shape: Shape, path: str) -> None:
    if not isinstance(value, list):
        raise TypeMismatchError(f"{path}: expected list, got {_shown(value)}")
    seen = set()
    for index, item in enumerate(value):
        try:
            element = element_of(item, shape)
        except UnkeyedElementError as error:
            raise TypeMismatchError(f"{path}: element {index}: {error}") from None
        here = path + field_sets.paths({element: field_sets.leaf()})[0]
        if element in seen:
            raise TypeMismatchError(f"{path}: duplicate entries for key {here[len(path) :]}")
        seen.add(element)
        if shape.form is Form.LIST_MAP:
            _check(item, shape.element, here)


def _shown(value: Any) -> str:
    return f"&{{{go_print(value)}}}"


def field_set(value: Any, shape: Shape) -> FieldSet:
    """The fields that a tree sets. Raises: UnkeyedElementError."""
    if shape.form is Form.LEAF or value is None:
        return field_sets.leaf() if shape.form is Form.LEAF else {}
    found: FieldSet = {}
    if shape.form in (Form.STRUCT, Form.MAP):
        for key, child in value.items():
            below = _below(shape, key)
            node = field_set(child, below)
            if shape.form is Form.MAP or child is None or child == {}:
                node[MEMBER] = {}
            if node:
                found[f"f:{key}"] = node
        return found
    for element, item in elements(value, shape):
        node = field_set(item, shape.element) if shape.form is Form.LIST_MAP else {}
        node[MEMBER] = {}
        found[element] = node
    return found


def _below(shape: Shape, key: str) -> Shape:
    return shape.child(key) or LEAF  # kind and apiVersion, which protobuf keeps outside


def elements(items: list[Any], shape: Shape) -> Iterator[tuple[str, Any]]:
    """The items with their path elements. Raises: UnkeyedElementError."""
    for item in items:
        yield element_of(item, shape), item


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """What applying `config` makes of `live`, before anything is taken away; both stay as they are.

    Raises: UnkeyedElementError.
    """
    if shape.form is Form.LEAF or live is None or type(live) is not type(config):
        return config
    if shape.form in (Form.STRUCT, Form.MAP):
        merged = dict(live)
        for key, value in config.items():
            merged[key] = merge(live.get(key), value, _below(shape, key))
        return merged
    return _merge_list(live, config, shape)


def _merge_list(live: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    """The configuration's order, with what only the live list holds where it stood."""
    left, right = deque(elements(live, shape)), deque(elements(config, shape))
    before, wanted = dict(left), {element for element, _ in right}
    shared = deque(element for element, _ in right if element in before)
    keyed = shape.form is Form.LIST_MAP
    merged: list[Any] = []
    while left or right:
        if left and left[0][0] not in wanted:
            merged.append(left.popleft()[1])
            continue
        meets = bool(left and right) and left[0][0] == right[0][0]
        # One that the configuration has moved: it comes where that says.
        if left and not meets and (not right or not shared or shared[0] != left[0][0]):
            left.popleft()
            continue
        if meets:
            left.popleft()
        element, item = right.popleft()
        if shared and shared[0] == element:
            shared.popleft()
        known = keyed and element in before
        merged.append(merge(before[element], item, shape.element) if known else item)
    return merged


def compare(old: Any, new: Any, shape: Shape) -> tuple[FieldSet, FieldSet]:
    """The fields that `new` adds or changes, and those that it no longer has."""
    if shape.form is Form.LEAF or type(old) is not type(new):
        return (field_sets.leaf() if old != new else {}), {}
    if shape.form in (Form.STRUCT, Form.MAP):
        before = {f"f:{key}": value for key, value in old.items()}
        after = {f"f:{key}": value for key, value in new.items()}
    else:
        before, after = dict(elements(old, shape)), dict(elements(new, shape))
    changed: FieldSet = {}
    removed: FieldSet = {}
    for element, value in after.items():
        if element not in before:
            changed |= _only(element, value, shape)
        elif before[element] != value:
            below = _element_shape(shape, element)
            more, less = compare(before[element], value, below)
            if more:
                changed[element] = more
            if less:
                removed[element] = less
    for element, value in before.items():
        if element not in after:
            removed |= _only(element, value, shape)
    return changed, removed


def _element_shape(shape: Shape, element: str) -> Shape:
    if shape.form is Form.SET:
        return LEAF
    return shape.element if shape.form is Form.LIST_MAP else _below(shape, element[2:])


def _only(element: str, value: Any, shape: Shape) -> FieldSet:
    """The fields of something that one side alone has: all that leads to them included."""
    if shape.form in (Form.STRUCT, Form.MAP):
        found = field_set({element[2:]: value}, shape)
    else:
        found = field_set([value], shape)
    return {element: _with_ways(node) for element, node in found.items()}


def _with_ways(fields: FieldSet) -> FieldSet:
    """The set with every path on the way to a member."""
    kept = {e: _with_ways(child) for e, child in fields.items() if e != MEMBER}
    return {MEMBER: {}, **kept}


def prune(value: Any, shape: Shape, given_up: FieldSet, owned: FieldSet) -> Any:
    """`value` without the fields of `given_up` that nobody owns any more.

    A field stays while anything under it is owned; an element of a list only while somebody owns
    the element itself.
    """
    if shape.form in (Form.STRUCT, Form.MAP) and isinstance(value, dict):
        kept = {}
        for key, child in value.items():
            left = _pruned(f"f:{key}", child, _below(shape, key), given_up, owned)
            if left is not _GONE and (left or left == child or left not in ({}, [])):
                kept[key] = left
        return kept
    if shape.form in (Form.LIST_MAP, Form.SET) and isinstance(value, list):
        below = shape.element if shape.form is Form.LIST_MAP else LEAF
        items = [
            _pruned(element, item, below, given_up, owned)
            for element, item in elements(value, shape)
        ]
        return [item for item in items if item is not _GONE]
    return value


_GONE = object()


def _pruned(element: str, value: Any, shape: Shape, given_up: FieldSet, owned: FieldSet) -> Any:
    dropped = given_up.get(element)
    if dropped is None:
        return value
    keeper = owned.get(element, {})
    held = bool(keeper) if element.startswith("f:") else MEMBER in keeper
    if MEMBER in dropped and not held:
        return _GONE
    return prune(value, shape, dropped, keeper)
