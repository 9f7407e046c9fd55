"""Strategic merge patch: a merge that knows which lists are maps in disguise.

Lists with the strategy `merge` are merged by their merge key (or as sets, if they hold scalars);
all others are replaced. Directives: `$patch: replace|delete` in an object, `$patch: delete|replace`
in an element of a merged list, `$retainKeys`, `$setElementOrder/<list>`,
`$deleteFromPrimitiveList/<list>`.

Source: k8s.io/apimachinery pkg/util/strategicpatch/patch.go.
"""

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from podpath.api import patch_lists
from podpath.api.go_fields import GoField, json_fields
from podpath.api.patch_errors import (
    PatchFormatError,
    StrategicPatchError,
    go_print,
    go_type,
    type_name,
)

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_FROM_LIST = "$deleteFromPrimitiveList"
_SET_ORDER = "$setElementOrder"

Schema = type[Message] | None  # None: a map, or what protobuf does not describe


def apply(tree: dict[str, Any], document: Any, message: type[Message]) -> Any:
    """Merges `document` into `tree`; both may be changed.

    Raises: PatchFormatError, StrategicPatchError.
    """
    if not isinstance(document, dict):
        raise PatchFormatError(
            f"json: cannot unmarshal {type_name(document)} into Go value of type "
            "map[string]interface {}"
        )
    return _merge_map(tree, document, message)


@dataclass(frozen=True, slots=True)
class _Field:
    """How the field of one key is merged."""

    schema: Schema
    strategies: frozenset[str]
    merge_key: str


def _field(schema: Schema, key: str) -> _Field:
    """Raises: StrategicPatchError if the type has no such field."""
    if schema is None:
        return _Field(None, frozenset(), "")
    field: GoField | None = json_fields(schema).get(key)
    if field is None:
        struct = schema.DESCRIPTOR.name
        raise StrategicPatchError(
            f'unable to find api field in struct {struct} for the json field "{key}"'
        )
    nested = field.message if field.kind == "message" and not field.map else None
    return _Field(nested, field.patch_strategies, field.patch_merge_key)


def _merge_map(original: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    if _PATCH in patch:
        return _whole(patch)
    _retain_keys(original, patch)
    _set_orders(original, patch, schema)
    for patch_key, value in patch.items():
        deletes = patch_key.startswith(_DELETE_FROM_LIST)
        key = _directive_key(patch_key, _DELETE_FROM_LIST) if deletes else patch_key
        if value is None:
            original.pop(key, None)
        elif key not in original or go_type(original[key]) != go_type(value):
            if not deletes:
                _put(original, key, _without_nulls(value))
        elif isinstance(value, dict):
            field = _field(schema, key)
            replaces = "replace" in field.strategies
            original[key] = value if replaces else _merge_map(original[key], value, field.schema)
        elif isinstance(value, list):
            field = _field(schema, key)
            original[key] = _merge_list(original[key], value, field, deletes)
        else:
            original[key] = value
    return original


def _whole(patch: dict[str, Any]) -> dict[str, Any]:
    directive = patch[_PATCH]
    if directive == "replace":
        del patch[_PATCH]
        return patch
    if directive == "delete":
        return {}
    raise _bad_directive(directive, patch)


def _bad_directive(directive: Any, patch: dict[str, Any]) -> StrategicPatchError:
    return StrategicPatchError(
        f"unknown patch type: {go_print(directive)} in map: {go_print(patch)}"
    )


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    kept, value = _without_directives(value)
    if kept:
        target[key] = value
    else:
        target.pop(key, None)


def _without_nulls(value: Any) -> Any:
    """A null in a patch removes a key; where there is nothing to remove it says nothing."""
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value


def _without_directives(value: Any) -> tuple[bool, Any]:
    if isinstance(value, dict):
        if _PATCH in value:
            return False, None
        pairs = ((key, _without_directives(child)) for key, child in value.items())
        return True, {key: child for key, (kept, child) in pairs if kept}
    if isinstance(value, list):
        return True, [child for kept, child in map(_without_directives, value) if kept]
    return True, value


def _retain_keys(original: dict[str, Any], patch: dict[str, Any]) -> None:
    """`$retainKeys` lists all keys that remain; it must contain those that the patch sets."""
    if _RETAIN_KEYS not in patch:
        return
    retained = patch.pop(_RETAIN_KEYS)
    listed = isinstance(retained, list)
    if not listed or any(
        key not in retained
        for key, value in patch.items()
        if value is not None and not key.startswith((_DELETE_FROM_LIST, _SET_ORDER))
    ):
        raise PatchFormatError("invalid patch format of retainKeys")
    for key in [key for key in original if key not in retained]:
        del original[key]


def _directive_key(text: str, prefix: str) -> str:
    head, slash, key = text.partition("/")
    if not slash or head != prefix:
        what = "primitive" if prefix == _DELETE_FROM_LIST else "setElementOrder"
        raise PatchFormatError(f"invalid patch format of {what} list")
    return key


def _set_orders(original: dict[str, Any], patch: dict[str, Any], schema: Schema) -> None:
    """Carries out `$setElementOrder` together with the merge of its list."""
    for directive in [key for key in patch if key.startswith(_SET_ORDER)]:
        order = _as_list(patch.pop(directive))
        key = _directive_key(directive, _SET_ORDER)
        server = _as_list(original[key]) if key in original else None
        wanted = _as_list(patch[key]) if key in patch else None
        field = _field(schema, key)
        patch_lists.check_order(wanted or [], order, field.merge_key, _SET_ORDER)
        if server is None and wanted is None:
            continue
        if server is None:
            merged = _without_directives(wanted)[1]
        elif wanted is None:
            merged = server
        else:
            merged = _merge_list(list(server), wanted, field, deletes=False)
        patch.pop(key, None)
        original[key] = patch_lists.ordered(merged, order, server or [], field.merge_key)


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise StrategicPatchError(f"expected a []interface {{}}, but received a {go_type(value)}")
    return value


def _merge_list(original: list[Any], patch: list[Any], field: _Field, deletes: bool) -> list[Any]:
    if "merge" not in field.strategies and not deletes:
        return patch
    if not original and not patch:
        return original
    if patch_lists.element_type(original, patch) is not dict:
        if deletes:
            return [item for item in original if item not in patch]
        merged = list(dict.fromkeys([*original, *patch]))
        return patch_lists.ordered(merged, patch, original, "")
    if not field.merge_key:
        name = field.schema.DESCRIPTOR.name if field.schema is not None else ""
        raise StrategicPatchError(f"cannot merge lists without merge key for {name}")
    original, patch = _special_elements(original, patch, field.merge_key)
    merged = _merge_elements(list(original), patch, field)
    return patch_lists.ordered(merged, patch, original, field.merge_key)


def _special_elements(
    original: list[Any], patch: list[Any], merge_key: str
) -> tuple[list[Any], list[Any]]:
    """Carries out the elements that are directives; returns the list and what is left to merge."""
    plain = [item for item in patch if _PATCH not in item]
    replaces = False
    for item in patch:
        directive = item.get(_PATCH)
        if directive is None:
            continue
        if directive == "delete":
            gone = patch_lists.key_of(item, merge_key)
            original = [each for each in original if each.get(merge_key) != gone]
        elif directive == "replace":
            replaces = True
        elif directive == "merge":
            raise StrategicPatchError("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_directive(directive, item)
    return (plain, []) if replaces else (original, plain)


def _merge_elements(merged: list[Any], patch: list[Any], field: _Field) -> list[Any]:
    for item in patch:
        wanted = patch_lists.key_of(item, field.merge_key)
        for index, present in enumerate(merged):
            if field.merge_key in present and present[field.merge_key] == wanted:
                merged[index] = _merge_map(present, item, field.schema)
                break
        else:
            merged.append(item)
    return merged
