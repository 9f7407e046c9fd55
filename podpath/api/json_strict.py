"""Request bodies in JSON, with upstream's field validation: Strict, Warn or Ignore.

Source: k8s.io/apiserver pkg/endpoints/handlers/{create,rest}.go (transformDecodeError),
k8s.io/apimachinery pkg/runtime/serializer/json, sigs.k8s.io/json (duplicate fields).
"""

import json
from typing import Any

import orjson
from google.protobuf.message import Message

from podpath.api import errors, json_codec
from podpath.api.go_text import quote
from podpath.api.json_problems import PROBLEMS_MAX
from podpath.api.scheme import ObjectT, Resource

IGNORE = "Ignore"
WARN = "Warn"
STRICT = "Strict"


def decode_object(
    resource: Resource[ObjectT], body: bytes, field_validation: str = STRICT
) -> tuple[ObjectT, tuple[str, ...]]:
    """The message a request body says, and warnings (`unknown field "spec.foo"`).

    Unknown and duplicate fields are errors with Strict, warnings with Warn (which is what an
    empty `field_validation` means), silence with Ignore. Kind and apiVersion are the caller's to
    check. Raises: ApiError (BadRequest).
    """
    tree = json_codec.parse(body)
    doubled = () if field_validation == IGNORE else duplicate_fields(body, tree)
    return decode_tree(resource, tree, field_validation, doubled)


def decode_tree(
    resource: Resource[ObjectT],
    tree: Any,
    field_validation: str = STRICT,
    doubled: tuple[str, ...] = (),
) -> tuple[ObjectT, tuple[str, ...]]:
    """Like `decode_object`, for a tree that came from elsewhere (YAML, a patched object).

    `doubled` are the paths of duplicate fields, if the text's reader found any.
    """
    try:
        decoded = json_codec.from_json(resource.message, tree)
    except json_codec.JsonTypeError as error:
        raise cannot_be_handled(resource, str(error)) from None
    if field_validation == IGNORE:
        return decoded.message, ()
    problems = [f"duplicate field {quote(path)}" for path in doubled]
    problems += [f"unknown field {quote(path)}" for path in decoded.unknown_fields]
    if problems and field_validation == STRICT:
        text = ", ".join(problems[:PROBLEMS_MAX])
        raise cannot_be_handled(resource, f"strict decoding error: {text}")
    return decoded.message, tuple(problems[:PROBLEMS_MAX])


def cannot_be_handled(resource: Resource[Any], why: str) -> errors.ApiError:
    """The BadRequest with which upstream wraps what its decoder says."""
    return errors.bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a '
        f"{resource.kind}: {why}"
    )


def duplicate_fields(body: bytes, tree: Any) -> tuple[str, ...]:
    """Paths of keys that one JSON object says twice: `spec.containers[0].name`.

    `tree` is the body decoded. A body that is as short as the tree written again cannot hold a
    key twice, so what Go clients send is not parsed a second time.
    """
    if len(orjson.dumps(tree)) == len(body.strip()):
        return ()
    found: list[str] = []
    _walk(_Pairs.load(body), "", found)
    return tuple(dict.fromkeys(found))[:PROBLEMS_MAX]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all that its text says."""

    @classmethod
    def load(cls, body: bytes) -> Any:
        return json.loads(body, object_pairs_hook=cls)


def _walk(node: Any, path: str, found: list[str]) -> None:
    if isinstance(node, _Pairs):
        seen: set[str] = set()
        for key, value in node:
            here = f"{path}.{key}" if path else key
            if key in seen:
                found.append(here)
            seen.add(key)
            _walk(value, here, found)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            _walk(item, f"{path}[{index}]", found)


def wrong_kind(resource: Resource[Message], api_version: str, kind: str) -> errors.ApiError:
    """The body names another kind than the request's path does."""
    return errors.bad_request(
        f"{api_version}, Kind={kind} in version {quote(resource.version)} cannot be handled as a "
        f"{resource.kind}"
    )
