"""JSON merge patch, RFC 7386."""

from typing import Any

from podpath.api.patch_errors import PatchFormatError, type_name


def apply(tree: Any, document: Any) -> Any:
    """Merges `document` into `tree`, which may be changed. Raises: PatchFormatError."""
    if not isinstance(document, dict):
        raise PatchFormatError(
            f"error decoding patch: json: cannot unmarshal {type_name(document)} into Go value of "
            "type map[string]interface {}"
        )
    return _merge(tree, document)


def _merge(tree: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged: dict[str, Any] = tree if isinstance(tree, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
