"""Order of merged lists in a strategic merge patch.

Source: k8s.io/apimachinery pkg/util/strategicpatch/patch.go (normalizeElementOrder).
"""

from typing import Any

from podpath.api.patch_errors import StrategicPatchError, go_print

_NOWHERE = -1


def element_type(*lists: list[Any]) -> type:
    """The type of all elements. Raises: StrategicPatchError if they differ."""
    types = {type(item) for items in lists for item in items}
    if len(types) > 1:
        raise StrategicPatchError(
            f"list element types are not identical: [{' '.join(map(go_print, lists))}]"
        )
    (only,) = types
    if only is list:
        raise StrategicPatchError("lists of lists are not supported")
    return only


def key_of(item: Any, merge_key: str) -> Any:
    """What identifies an element. Raises: StrategicPatchError."""
    if not merge_key:
        return item
    if merge_key not in item:
        raise StrategicPatchError(
            f"map: {go_print(item)} does not contain declared merge key: {merge_key}"
        )
    return item[merge_key]


def check_order(patch: list[Any], order: list[Any], merge_key: str, directive: str) -> None:
    """The patch's elements must stand in the order that it asks for.

    Raises: StrategicPatchError.
    """
    plain = [i for i in patch if not (isinstance(i, dict) and "$patch" in i)]
    if not order or not patch:
        return
    remaining = iter(order)
    for item in plain:
        if not any(key_of(item, merge_key) == key_of(other, merge_key) for other in remaining):
            raise StrategicPatchError(
                f"The order in patch list:\n{go_print(patch)}\n doesn't match {directive} "
                f"list:\n{go_print(order)}\n"
            )


def ordered(
    merged: list[Any], order: list[Any], server_order: list[Any], merge_key: str
) -> list[Any]:
    """`merged` with the patch's elements as `order` says, and those that only the server has kept
    before what they stood before."""
    patch_keys = [key_of(item, merge_key) for item in order]
    server_keys = [key_of(item, merge_key) for item in server_order]
    from_patch = [item for item in merged if key_of(item, merge_key) in patch_keys]
    server_only = [item for item in merged if key_of(item, merge_key) not in patch_keys]
    from_patch.sort(key=lambda item: patch_keys.index(key_of(item, merge_key)))
    server_only.sort(key=lambda item: _position(server_keys, key_of(item, merge_key)))
    result: list[Any] = []
    while server_only and from_patch:
        left = _position(server_keys, key_of(server_only[0], merge_key))
        right = _position(server_keys, key_of(from_patch[0], merge_key))
        comes_first = _NOWHERE not in (left, right) and left < right
        result.append((server_only if comes_first else from_patch).pop(0))
    return result + from_patch + server_only


def _position(keys: list[Any], key: Any) -> int:
    return keys.index(key) if key in keys else _NOWHERE
