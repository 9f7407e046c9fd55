"""Request bodies in JSON, with upstream's field validation: Strict, Warn or Ignore.

Source: k8s.io/apiserver pkg/endpoints/handlers/{create,rest}.go (transformDecodeError),
k8s.io/apimachinery pkg/runtime/serializer/json, sigs.k8s.io/json (duplicate fields).
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import orjson

from podpath.api import errors, json_codec, scheme
from podpath.api.go_text import quote
from podpath.api.json_problems import PROBLEMS_MAX
from podpath.api.scheme import ObjectT, Resource

IGNORE = "Ignore"
WARN = "Warn"
STRICT = "Strict"

_SUMMARY_BYTES = 30  # of a body that cannot be read, in the error's message
_PLACES = {
    "Expecting property name": "looking for beginning of object key string",
    "Illegal trailing comma": "looking for beginning of object key string",
    "Expecting ':'": "after object key",
    "Expecting value": "looking for beginning of value",
    "Extra data": "after top-level value",
    "Invalid control character": "in string literal",
    "Invalid \\": "in string escape code",
}


@dataclass(frozen=True, slots=True)
class FieldPlaces:
    """Where a text has its fields (`spec.containers[0].name`), counted in fields: where each stands
    first, and where one stands that its object had already. Empty if no field stands twice."""

    first: dict[str, int]
    again: dict[str, int]


NOWHERE = FieldPlaces({}, {})


def decode_object(
    resource: Resource[ObjectT], body: bytes, field_validation: str = STRICT
) -> tuple[ObjectT, tuple[str, ...]]:
    """The message a request body says, and warnings (`unknown field "spec.foo"`).

    Unknown and duplicate fields are errors with Strict, warnings with Warn (which is what an
    empty `field_validation` means), silence with Ignore. A body may leave out kind and apiVersion,
    but not say others than the resource's. Raises: ApiError (BadRequest).
    """
    tree = _parse(resource, body)
    _check_kind(resource, tree)
    places = NOWHERE if field_validation == IGNORE else field_places(body, tree)
    return decode_tree(resource, tree, field_validation, places)


def decode_tree(
    resource: Resource[ObjectT],
    tree: Any,
    field_validation: str = STRICT,
    places: FieldPlaces = NOWHERE,
) -> tuple[ObjectT, tuple[str, ...]]:
    """Like `decode_object`, for a tree that came from elsewhere (YAML, a patched object).

    `places` are those of the text, if there is one: problems are told in its order.
    """
    try:
        decoded = json_codec.from_json(resource.message, tree)
    except json_codec.JsonTypeError as error:
        raise cannot_be_handled(resource, str(error)) from None
    if field_validation == IGNORE:
        return decoded.message, ()
    found = [(places.first.get(p, 0), f"unknown field {quote(p)}") for p in decoded.unknown_fields]
    found += [(at, f"duplicate field {quote(p)}") for p, at in places.again.items()]
    found.sort(key=itemgetter(0))
    problems = tuple(text for _, text in found[:PROBLEMS_MAX])
    if problems and field_validation == STRICT:
        raise cannot_be_handled(resource, f"strict decoding error: {', '.join(problems)}")
    return decoded.message, problems


def cannot_be_handled(resource: Resource[Any], why: str) -> errors.ApiError:
    """The BadRequest with which upstream wraps what its decoder says."""
    return errors.bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a '
        f"{resource.kind}: {why}"
    )


def field_places(body: bytes, tree: Any) -> FieldPlaces:
    """Looks for keys that one JSON object says twice. `tree` is the body decoded.

    A body that is as short as the tree written again cannot hold a key twice, so what Go clients
    send is not parsed a second time.
    """
    if len(orjson.dumps(tree)) == len(body.strip()):
        return NOWHERE
    places = FieldPlaces({}, {})
    _walk(_Pairs.load(body), "", places, itertools.count())
    return places


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all that its text says."""

    @classmethod
    def load(cls, body: bytes) -> Any:
        return json.loads(body, object_pairs_hook=cls)


def _walk(node: Any, path: str, places: FieldPlaces, count: Iterator[int]) -> None:
    if isinstance(node, _Pairs):
        seen: set[str] = set()
        for key, value in node:
            here = f"{path}.{key}" if path else key
            (places.again if key in seen else places.first).setdefault(here, next(count))
            seen.add(key)
            _walk(value, here, places, count)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            _walk(item, f"{path}[{index}]", places, count)


def _parse(resource: Resource[Any], body: bytes) -> Any:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _unrecognized(resource, body, syntax_error(body)) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(tree), "number")
        go_type = (
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
            'Kind string "json:\\"kind,omitempty\\"" }'
        )
        why = f"json: cannot unmarshal {kind} into Go value of type {go_type}"
        raise _unrecognized(resource, body, why)
    for key in ("apiVersion", "kind"):
        value = tree.get(key, "")
        if value is not None and not isinstance(value, str):
            kind = {list: "array", dict: "object", bool: "bool"}.get(type(value), "number")
            why = f"json: cannot unmarshal {kind} into Go struct field .{key} of type string"
            raise _unrecognized(resource, body, why)
    return tree


def _unrecognized(resource: Resource[Any], body: bytes, why: str) -> errors.ApiError:
    return errors.bad_request(
        f"the object provided is unrecognized (must be of type {resource.kind}): couldn't get "
        f"version/kind; json parse error: {why} ({_summary(body)})"
    )


def _summary(body: bytes) -> str:
    if not body:
        return "<empty>"
    head = body[:_SUMMARY_BYTES]
    text = head.decode(errors="replace") if body.startswith(b"{") else head.hex()
    return f"{text} ..." if len(body) > _SUMMARY_BYTES else text


def _check_kind(resource: Resource[Any], tree: dict[str, Any]) -> None:
    api_version = tree.get("apiVersion") or resource.api_version
    kind = tree.get("kind") or resource.kind
    if (api_version, kind) == (resource.api_version, resource.kind):
        return
    if "kind" in resource.message.DESCRIPTOR.fields_by_name:
        return
    version = api_version.rpartition("/")[2]
    try:
        other = scheme.by_kind(api_version, kind)
    except scheme.UnknownKindError:
        why = (
            f'no kind "{kind}" is registered for version "{api_version}" in scheme '
            '"pkg/runtime/scheme.go:100"'
        )
    else:
        if (other.group, other.kind) == (resource.group, resource.kind):
            raise errors.bad_request(
                f"the API version in the data ({api_version}) does not match the expected API "
                f"version ({resource.api_version})"
            )
        internal = resource.group.partition(".")[0] or "core"
        why = (
            f"converting ({other.version}.{kind}) to ({internal}.{resource.kind}): "
            "unknown conversion"
        )
    raise errors.bad_request(
        f'{kind} in version "{version}" cannot be handled as a {resource.kind}: {why}'
    )


def syntax_error(body: bytes) -> str:
    """What Go's decoder says of a text that is no JSON."""
    text = body.decode(errors="replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        position = error.pos + error.msg.startswith("Invalid \\")
        char = text[position : position + 1]
        if not char or not text[error.pos :].strip() or error.msg.startswith("Unterminated"):
            return "unexpected end of JSON input"
        place = next((where for what, where in _PLACES.items() if error.msg.startswith(what)), "")
        if error.msg.startswith("Expecting ','"):
            place = (
                "after array element"
                if _in_array(text[: error.pos])
                else "after object key:value pair"
            )
        return f"invalid character {_go_char(char)} {place or 'looking for beginning of value'}"
    return "invalid JSON"


def _go_char(char: str) -> str:
    if char == "'":
        return "'\\''"
    return "'\"'" if char == '"' else f"'{quote(char)[1:-1]}'"


def _in_array(text: str) -> bool:
    """True if the innermost bracket still open is an array's."""
    open_brackets: list[str] = []
    in_string = escaped = False
    for char in text:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "[{":
            open_brackets.append(char)
        elif char in "]}" and open_brackets:
            open_brackets.pop()
    return open_brackets[-1:] == ["["]
