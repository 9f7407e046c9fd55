"""PATCH: changes an object by a document, on its JSON tree.

Source: k8s.io/apiserver pkg/endpoints/handlers/patch.go.
"""

from typing import Any

import orjson

from apiserver.registry.subresources import body_of
from apiserver.verbs.apply import APPLY, apply, check_name
from apiserver.verbs.context import Context, copy_of
from apiserver.verbs.interface import Target, UserInfo, Version, WriteOptions
from apiserver.verbs.update import change
from podpath.api import errors, json_codec
from podpath.api import patch as json_patching

TYPES = (
    json_patching.JSON_PATCH,
    json_patching.MERGE_PATCH,
    json_patching.STRATEGIC_MERGE_PATCH,
)


async def patch(
    context: Context,
    user: UserInfo,
    target: Target,
    patch_type: str,
    document: Any,
    options: WriteOptions,
) -> Version:
    """Stores what the patch makes of the object. Raises: ApiError.

    A patch that names no resourceVersion applies to whatever is there: it is computed again when
    another write comes first.
    """
    if patch_type == APPLY:
        return await apply(context, user, target, document, options)
    if patch_type not in TYPES:
        accepted = ", ".join((*TYPES, APPLY))
        raise errors.unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: "
            f"{accepted}"
        )
    resource = body_of(target.resource, target.subresource)

    async def patched(shown: Any) -> Any:
        tree = json_codec.to_json_object(resource, shown)
        result = json_patching.apply(patch_type, resource, tree, document)
        if result == tree:
            return copy_of(shown)
        _check_type(resource.api_version, resource.kind, result)
        try:
            new = json_codec.from_json(resource.message, result).message
        except json_codec.JsonTypeError as error:
            raise json_patching.result_error(orjson.dumps(result).decode(), str(error)) from None
        check_name(target, new)
        return new

    return await change(context, user, target, patched, options)


def _check_type(api_version: str, kind: str, tree: Any) -> None:
    for field, expected in (("apiVersion", api_version), ("kind", kind)):
        if tree.get(field, expected) != expected:
            raise errors.bad_request(
                f"the {field} of the object ({tree[field]}) cannot be changed by a patch"
            )
