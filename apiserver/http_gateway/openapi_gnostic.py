"""OpenAPI v2 in the protobuf form that kubectl and client-go ask for.

The form has named pairs where JSON has objects; extensions are YAML texts. Field numbers are
those of gnostic's published OpenAPIv2.proto; only the fields that our documents use are here.
"""

from typing import Any

import orjson

from podpath.api.wire import BYTES, VARINT, framed, tag, varint

Tree = dict[str, Any]


def encode(document: Tree) -> bytes:
    """The Document message of a v2 document."""
    info = document["info"]
    paths = b"".join(
        _field(2, _text(1, path) + _field(2, _path_item(item)))
        for path, item in document["paths"].items()
    )
    definitions = b"".join(_named_schema(1, k, v) for k, v in document["definitions"].items())
    return b"".join(
        (
            _text(1, document["swagger"]),
            _field(2, _text(1, info["title"]) + _text(2, info["version"])),
            _field(8, paths),
            _field(9, definitions),
        )
    )


def _field(number: int, body: bytes) -> bytes:
    return framed(tag(number, BYTES), body)


def _text(number: int, value: str) -> bytes:
    return _field(number, value.encode()) if value else b""


def _flag(number: int, value: bool) -> bytes:
    return tag(number, VARINT) + varint(1) if value else b""


def _texts(number: int, values: list[str]) -> bytes:
    return b"".join(_field(number, value.encode()) for value in values)


def _extensions(number: int, tree: Tree) -> bytes:
    """`x-` keys; JSON is YAML, so it serves as the text."""
    return b"".join(
        _field(number, _text(1, key) + _field(2, _field(2, orjson.dumps(value) + b"\n")))
        for key, value in tree.items()
        if key.startswith("x-")
    )


_METHOD_FIELDS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _path_item(item: Tree) -> bytes:
    parts = [
        _field(number, _operation(item[method]))
        for method, number in _METHOD_FIELDS.items()
        if method in item
    ]
    parts += (_field(9, _parameter(p)) for p in item.get("parameters", ()))
    return b"".join(parts)


def _operation(operation: Tree) -> bytes:
    responses = b"".join(
        _field(1, _text(1, code) + _field(2, _field(1, _response(response))))
        for code, response in operation["responses"].items()
    )
    return b"".join(
        (
            _texts(1, operation["tags"]),
            _text(5, operation["operationId"]),
            _texts(6, operation["produces"]),
            _texts(7, operation["consumes"]),
            b"".join(_field(8, _parameter(p)) for p in operation["parameters"]),
            _field(9, responses),
            _texts(10, operation["schemes"]),
            _extensions(13, operation),
        )
    )


def _response(response: Tree) -> bytes:
    out = _text(1, response["description"])
    if "schema" in response:
        out += _field(2, _field(1, _schema(response["schema"])))
    return out


def _parameter(parameter: Tree) -> bytes:
    """A ParametersItem."""
    required = parameter.get("required", False)
    description = parameter.get("description", "")
    if parameter["in"] == "body":
        body = b"".join(
            (
                _text(1, description),
                _text(2, parameter["name"]),
                _text(3, "body"),
                _flag(4, required),
                _field(5, _schema(parameter["schema"])),
            )
        )
        return _field(1, _field(1, body))
    in_query = parameter["in"] == "query"
    parts = [
        _flag(1, required),
        _text(2, parameter["in"]),
        _text(3, description),
        _text(4, parameter["name"]),
        # The query form has one field more (allow_empty_value), so its types come later.
        _text(6 if in_query else 5, parameter["type"]),
    ]
    if in_query:
        parts.append(_flag(20, parameter.get("uniqueItems", False)))
    return _field(1, _field(2, _field(3 if in_query else 4, b"".join(parts))))


def _named_schema(number: int, name: str, schema: Tree) -> bytes:
    return _field(number, _text(1, name) + _field(2, _schema(schema)))


def _schema(schema: Tree) -> bytes:
    parts = [
        _text(1, schema.get("$ref", "")),
        _text(2, schema.get("format", "")),
        _text(4, schema.get("description", "")),
        _texts(19, schema.get("required", [])),
    ]
    if "additionalProperties" in schema:
        parts.append(_field(21, _field(1, _schema(schema["additionalProperties"]))))
    if "type" in schema:
        parts.append(_field(22, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_field(23, _field(1, _schema(schema["items"]))))
    if "properties" in schema:
        named = (_named_schema(1, k, v) for k, v in schema["properties"].items())
        parts.append(_field(25, b"".join(named)))
    parts.append(_extensions(31, schema))
    return b"".join(parts)
