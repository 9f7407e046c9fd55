"""Patches of JSON trees: JSON patch, JSON merge patch, strategic merge patch.

Source: k8s.io/apiserver pkg/endpoints/handlers/patch.go.
"""

from copy import deepcopy
from typing import Any

from podpath.api import errors, json_patch, merge_patch, strategic_patch
from podpath.api.patch_errors import PatchFormatError, PatchRejectedError, StrategicPatchError
from podpath.api.scheme import Resource
from protos.k8s.meta_v1_pb2 import Status, StatusDetails

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

_REJECTED = "the server rejected our request due to an error in our request"


def apply(patch_type: str, resource: Resource[Any], tree: dict[str, Any], document: Any) -> Any:
    """What the patch `document` makes of `tree`; neither is changed.

    Raises: ApiError with upstream's text: BadRequest for a document of the wrong form, 422 where
    a JSON patch does not apply, 500 for a strategic merge patch that contradicts itself.
    """
    try:
        if patch_type == JSON_PATCH:
            return json_patch.apply(deepcopy(tree), document)
        if patch_type == MERGE_PATCH:
            return merge_patch.apply(deepcopy(tree), document)
        if patch_type == STRATEGIC_MERGE_PATCH:
            return strategic_patch.apply(deepcopy(tree), deepcopy(document), resource.message)
    except PatchFormatError as error:
        raise errors.bad_request(str(error)) from None
    except PatchRejectedError:
        raise errors.new("Invalid", _REJECTED, StatusDetails()) from None
    except StrategicPatchError as error:
        raise errors.ApiError(Status(status="Failure", message=str(error), code=500)) from None
    raise errors.unsupported_media_type(f"the patch type {patch_type} is not supported")


def result_error(text: str, why: str) -> errors.ApiError:
    """The patched object (`text`, its JSON) cannot be read again: 422, as upstream tells it."""
    return errors.invalid_object("", "", "", [errors.invalid("patch", text, why)])
