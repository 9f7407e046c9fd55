"""Request bodies into messages: JSON, YAML or protobuf, with Kubernetes' errors and warnings.

Source: k8s.io/apiserver pkg/endpoints/handlers/{create,rest,patch}.go,
k8s.io/apimachinery pkg/runtime/serializer/{json,protobuf}.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import DecodeError, Message

from apiserver.http_gateway import yaml_documents
from apiserver.http_gateway.negotiation import (
    APPLY_PATCH,
    JSON_PATCH,
    PROTOBUF,
    YAML,
    body_type,
)
from apiserver.http_gateway.responses import PROTOBUF_MAGIC
from podpath.api import errors, go_text, json_strict
from podpath.api.errors import ApiError
from podpath.api.json_problems import unknown_fields
from podpath.api.scheme import Resource
from protos.k8s.meta_v1_pb2 import DeleteOptions
from protos.k8s.runtime_pb2 import Unknown

_SUMMARY_BYTES = 30
_GO_NAMES = {str: "string", list: "array", bool: "bool", int: "number", float: "number"}
_DELETE_OPTIONS: Resource[DeleteOptions] = Resource(
    "", "v1", "deleteoptions", "DeleteOptions", DeleteOptions
)


@dataclass(frozen=True, slots=True)
class Body:
    """A decoded body, and what the client is warned of."""

    message: Any
    warnings: tuple[str, ...] = ()


def decode(
    resource: Resource[Any], body: bytes, content_type: str, validation: str = "Warn"
) -> Body:
    """A body of the kind that `resource` serves; it may leave out kind and apiVersion.

    `validation` is the query's fieldValidation. Raises: ApiError (BadRequest,
    UnsupportedMediaType).
    """
    encoding = body_type(content_type)
    if encoding == PROTOBUF:
        return Body(_from_protobuf(resource, body))
    if encoding == YAML:
        body = _json_of_yaml(resource, body)
    return Body(*json_strict.decode_object(resource, body, validation))


def _json_of_yaml(resource: Resource[Any], body: bytes) -> bytes:
    try:
        return orjson.dumps(yaml_documents.parse(body))
    except (yaml_documents.YamlError, TypeError) as error:
        raise _unrecognized(resource, body, str(error)) from None


def _unrecognized(resource: Resource[Any], body: bytes, why: str) -> ApiError:
    more = " ..." if len(body) > _SUMMARY_BYTES else ""
    summary = body[:_SUMMARY_BYTES].hex() + more if body else "<empty>"
    return errors.bad_request(
        f"the object provided is unrecognized (must be of type {resource.kind}): {why} ({summary})"
    )


def _from_protobuf(resource: Resource[Any], body: bytes) -> Message:
    if not body.startswith(PROTOBUF_MAGIC):
        prefix = " ".join(map(str, PROTOBUF_MAGIC))
        why = f"provided data does not appear to be a protobuf message, expected prefix [{prefix}]"
        raise _unrecognized(resource, body, why)
    try:
        unknown = Unknown.FromString(body[len(PROTOBUF_MAGIC) :])
        names = unknown.typeMeta
        if (names.apiVersion or resource.api_version, names.kind or resource.kind) != (
            resource.api_version,
            resource.kind,
        ):
            # The empty object fails for its kind, with the same words as in JSON.
            tree = {"apiVersion": names.apiVersion, "kind": names.kind}
            json_strict.decode_object(resource, orjson.dumps(tree), json_strict.IGNORE)
        message: Message = resource.message.FromString(unknown.raw)
    except DecodeError as error:
        raise json_strict.cannot_be_handled(resource, f"proto: {error}") from None
    return message


def decode_delete_options(body: bytes, content_type: str) -> DeleteOptions | None:
    """The optional body of a DELETE; its apiVersion may be that of any group.

    Raises: ApiError (BadRequest, UnsupportedMediaType).
    """
    if not body:
        return None
    encoding = body_type(content_type)
    if encoding == PROTOBUF:
        return _protobuf_delete_options(body)
    if encoding == YAML:
        body = _json_of_yaml(_DELETE_OPTIONS, body)
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        tree = {}
    if isinstance(tree, dict) and tree.pop("apiVersion", None) is not None:
        body = orjson.dumps(tree)
    return json_strict.decode_object(_DELETE_OPTIONS, body, json_strict.IGNORE)[0]


def _protobuf_delete_options(body: bytes) -> DeleteOptions:
    try:
        unknown = Unknown.FromString(body.removeprefix(PROTOBUF_MAGIC))
        return DeleteOptions.FromString(unknown.raw)
    except DecodeError as error:
        raise errors.bad_request(f"proto: {error}") from None


def decode_patch(
    resource: Resource[Any], body: bytes, patch_type: str, validation: str
) -> tuple[Any, tuple[str, ...]]:
    """The patch document and the warnings about it. Raises: ApiError (BadRequest, Invalid)."""
    tree = _patch_tree(body, patch_type)
    expected = list if patch_type == JSON_PATCH else dict
    if type(tree) is not expected:
        found = _GO_NAMES.get(type(tree), "object")
        go_type = "jsonpatch.Patch" if expected is list else "map[string]interface {}"
        raise errors.bad_request(
            f"error decoding patch: json: cannot unmarshal {found} into Go value of type {go_type}"
        )
    # An apply knows no unknown fields at all: its verb refuses them.
    if validation == json_strict.IGNORE or patch_type in (JSON_PATCH, APPLY_PATCH):
        return tree, ()
    unknown = unknown_fields(resource.message, without_directives(tree))
    problems = tuple(f"unknown field {go_text.quote(path)}" for path in unknown)
    if problems and validation == json_strict.STRICT:
        text = f"strict decoding error: {', '.join(problems)}"
        raise errors.invalid_object("", "", "", [errors.invalid("patch", _go_value(tree), text)])
    return tree, problems


def _patch_tree(body: bytes, patch_type: str) -> Any:
    if patch_type == APPLY_PATCH:
        try:
            return yaml_documents.parse(body)
        except yaml_documents.YamlError as error:
            raise errors.bad_request(f"error decoding YAML: {error}") from None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = json_strict.syntax_error(body)
        raise errors.bad_request(f"error decoding patch: {text}") from None


def _go_value(tree: Any) -> str:
    """How Go's fmt prints a decoded document."""
    if isinstance(tree, dict):
        return f"map[{' '.join(f'{key}:{_go_value(tree[key])}' for key in sorted(tree))}]"
    if isinstance(tree, list):
        return f"[{' '.join(map(_go_value, tree))}]"
    if tree is None:
        return "<nil>"
    return str(tree).lower() if isinstance(tree, bool) else str(tree)


def without_directives(tree: Any) -> Any:
    """A patch without what only steers it: `$` keys, and keys that it removes."""
    if isinstance(tree, dict):
        return {
            key: without_directives(value)
            for key, value in tree.items()
            if value is not None and not key.startswith("$")
        }
    if isinstance(tree, list):
        return [without_directives(item) for item in tree]
    return tree
