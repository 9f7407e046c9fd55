"""A JSON tree to protobuf bytes, by a table compiled once for each message type.

The bytes begin with a template: what upstream's encoder writes for the type's zero value. Fields
of the tree follow in any order, the later one counts and nested messages merge, as protobuf has
it; so a key of an inlined message is simply written as one more piece of that message. Parsing
the bytes and serialising them again puts everything in order.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from podpath.api.go_fields import GoField, go_fields, json_fields, per_message
from podpath.api.json_values import WRITERS, ZERO_BYTES, WrongTypeError
from podpath.api.wire import BYTES, SMALL_VARINTS, VARINT, framed, tag, varint

# Writes a whole field, tag included; unknown JSON keys are noted in the list.
FieldWriter = Callable[[Any, list[str]], bytes]
# Writes a message's body.
BodyWriter = Callable[[Any, list[str]], bytes]

_LIMITS = {"int32": 2**31, "int64": 2**63}
_KEY_TAG = tag(1, BYTES)
_VALUE_TAG = tag(2, BYTES)


class Base64DataError(ValueError):
    """Bytes that are not base64; the message is Go's."""


@per_message
def template(message: type[Message]) -> bytes:
    """What upstream's encoder writes for the zero value of `message`."""
    return b"".join(_zero(field) for field in go_fields(message) if field.always_written)


def _zero(field: GoField) -> bytes:
    if field.kind == "string":
        return framed(tag(field.number, BYTES), b"")
    if field.kind in {"bool", "int32", "int64"}:
        return tag(field.number, VARINT) + varint(0)
    return framed(tag(field.number, BYTES), _zero_body(field))


def _zero_body(field: GoField) -> bytes:
    if field.kind in ZERO_BYTES:
        return ZERO_BYTES[field.kind]
    return template(field.message) if field.message is not None else b""


@per_message
def writer(message: type[Message]) -> BodyWriter:
    """The function that turns a JSON object into the bytes of `message`.

    Raises: WrongTypeError, ValueError (texts that do not parse).
    """
    fields: dict[str, tuple[bytes | None, FieldWriter]] = {}
    head: list[bytes] = []

    def write(tree: Any, unknown: list[str]) -> bytes:
        if not head:
            fields.update(_writers(message))
            head.append(template(message))
        if type(tree) is not dict:
            raise WrongTypeError(tree)
        parts = head.copy()
        for key, value in tree.items():
            entry = fields.get(key)
            if entry is None:
                unknown.append(key)
                continue
            text_tag, use = entry
            if text_tag is not None and type(value) is str:
                raw = value.encode()
                size = len(raw)
                if size < 128:
                    parts.append(text_tag + SMALL_VARINTS[size] + raw)
                else:
                    parts.append(text_tag + varint(size) + raw)
            elif value is not None:
                parts.append(use(value, unknown))
        return b"".join(parts)

    return write


@per_message
def _writers(message: type[Message]) -> dict[str, tuple[bytes | None, FieldWriter]]:
    found: dict[str, tuple[bytes | None, FieldWriter]] = {}
    for field in go_fields(message):
        if field.inline and field.message is not None:
            outer = tag(field.number, BYTES)
            for key in json_fields(field.message):
                found[key] = (None, _inlined(outer, field.message, key))
        else:
            is_text = field.kind == "string" and not (field.repeated or field.map)
            text_tag = tag(field.number, BYTES) if is_text else None
            found[field.json_name] = (text_tag, field_writer(field))
    return found


def _inlined(outer: bytes, child: type[Message], key: str) -> FieldWriter:
    text_tag, use = _writers(child)[key]

    def write(value: Any, unknown: list[str]) -> bytes:
        if text_tag is not None and type(value) is str:
            return framed(outer, framed(text_tag, value.encode()))
        return framed(outer, use(value, unknown))

    return write


def field_writer(field: GoField) -> FieldWriter:
    if field.map:
        return _map(field)
    one = _element_writer(field)
    return _repeated(one) if field.repeated else one


def _element_writer(field: GoField) -> FieldWriter:
    if field.kind == "bool":
        return _bool(tag(field.number, VARINT))
    if field.kind in _LIMITS:
        return _integer(tag(field.number, VARINT), _LIMITS[field.kind])
    return _framed(tag(field.number, BYTES), _body_writer(field))


def _body_writer(field: GoField) -> BodyWriter:
    if field.kind == "string":
        return _string_body
    if field.kind == "bytes":
        return _bytes_body
    if field.kind in WRITERS:
        special = WRITERS[field.kind]
        return lambda value, _unknown: special(value)
    assert field.message is not None, field
    return writer(field.message)


def _framed(field_tag: bytes, body: BodyWriter) -> FieldWriter:
    def write(value: Any, unknown: list[str]) -> bytes:
        raw = body(value, unknown)
        size = len(raw)
        if size < 128:
            return field_tag + SMALL_VARINTS[size] + raw
        return field_tag + varint(size) + raw

    return write


def _string_body(value: Any, _unknown: list[str]) -> bytes:
    if type(value) is not str:
        raise WrongTypeError(value)
    return value.encode()


def _bytes_body(value: Any, _unknown: list[str]) -> bytes:
    if type(value) is not str:
        raise WrongTypeError(value)
    try:
        return a2b_base64(value.encode(), strict_mode=True)
    except Base64Error:
        offset = _illegal_base64(value)
        if offset is None:
            return a2b_base64(value.replace("\n", "").replace("\r", ""))
        raise Base64DataError(f"illegal base64 data at input byte {offset}") from None


def _illegal_base64(text: str) -> int | None:
    """Where Go's decoder stops; None where it accepts what Python's does not (line breaks)."""
    alphabet = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    seen = 0
    for offset, char in enumerate(text):
        if char in "\r\n":
            continue
        if char == "=" and seen % 4 >= 2:
            return _illegal_padding(text, offset, 4 - seen % 4)
        if char not in alphabet:
            return len(text[:offset].encode())
        seen += 1
    return None if seen % 4 == 0 else len(text) - seen % 4


def _illegal_padding(text: str, offset: int, wanted: int) -> int | None:
    padding = [(i, char) for i, char in enumerate(text) if i >= offset and char not in "\r\n"]
    for number, (i, char) in enumerate(padding):
        if number >= wanted or char != "=":
            return i
    return None if len(padding) == wanted else len(text)


def _bool(field_tag: bytes) -> FieldWriter:
    true, false = field_tag + b"\1", field_tag + b"\0"

    def write(value: Any, _unknown: list[str]) -> bytes:
        if value is True:
            return true
        if value is False:
            return false
        raise WrongTypeError(value)

    return write


def _integer(field_tag: bytes, limit: int) -> FieldWriter:
    def write(value: Any, _unknown: list[str]) -> bytes:
        if type(value) is int:
            if 0 <= value < 128:
                return field_tag + SMALL_VARINTS[value]
            if -limit <= value < limit:
                return field_tag + varint(value)
        raise WrongTypeError(value)

    return write


def _repeated(one: FieldWriter) -> FieldWriter:
    def write(value: Any, unknown: list[str]) -> bytes:
        if type(value) is not list:
            raise WrongTypeError(value)
        if None in value:
            value = [_zero_of(one) if item is None else item for item in value]
        return b"".join([one(item, unknown) for item in value])

    return write


def _zero_of(one: FieldWriter) -> Any:
    """A JSON value that stands for null in a list: Go's zero value of the element."""
    zeros: tuple[Any, ...] = ({}, "", 0, False)
    for zero in zeros:
        try:
            one(zero, [])
        except (WrongTypeError, ValueError):
            continue
        return zero
    return None


def _map(field: GoField) -> FieldWriter:
    entry_tag = tag(field.number, BYTES)
    body = _body_writer(field)
    zero = _zero_body(field)

    def write(value: Any, unknown: list[str]) -> bytes:
        if type(value) is not dict:
            raise WrongTypeError(value)
        parts: list[bytes] = []
        for key, item in value.items():
            raw_key = key.encode()
            raw = zero if item is None else body(item, unknown)
            key_size, size = len(raw_key), len(raw)
            if key_size + size < 124:
                parts += (
                    entry_tag,
                    SMALL_VARINTS[key_size + size + 4],
                    _KEY_TAG,
                    SMALL_VARINTS[key_size],
                    raw_key,
                    _VALUE_TAG,
                    SMALL_VARINTS[size],
                    raw,
                )
            else:
                parts.append(framed(entry_tag, framed(_KEY_TAG, raw_key) + framed(_VALUE_TAG, raw)))
        return b"".join(parts)

    return write
