"""The API types whose JSON form is not that of their protobuf message: both directions.

A reader turns the bytes of a message into a JSON value; a writer turns a JSON value into the
bytes. A writer raises WrongTypeError where Go's decoder would report a type, and ValueError with
upstream's text where the type's own parser would.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from podpath.api import go_text, quantity
from podpath.api.wire import BYTES, VARINT, framed, read_varint, signed, skip, tag, varint
from podpath.component_base import durations

Reader = Callable[[bytes, int, int], Any]  # message bytes, start, end -> JSON value
Writer = Callable[[Any], bytes]  # JSON value -> message bytes

_FIRST_NUMBER = tag(1, VARINT)
_SECOND_NUMBER = tag(2, VARINT)
_FIRST_BYTES = tag(1, BYTES)
_THIRD_BYTES = tag(3, BYTES)
_INT32 = range(-(2**31), 2**31)


class WrongTypeError(Exception):
    """A JSON value of another type than the field's.

    `go_type` is set where upstream names another type than the field's.
    """

    def __init__(self, value: Any, go_type: str = "") -> None:
        super().__init__(value, go_type)
        self.value = value
        self.go_type = go_type


def _numbers(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Fields 1 and 2 of a message, both integers."""
    first = second = 0
    while position < end:
        key, position = read_varint(data, position)
        if key == 8:
            first, position = read_varint(data, position)
        elif key == 16:
            second, position = read_varint(data, position)
        else:
            position = skip(data, position, key & 7)
    return signed(first), signed(second)


def _first_bytes(data: bytes, position: int, end: int) -> bytes | None:
    found = None
    while position < end:
        key, position = read_varint(data, position)
        if key == 10:
            size, position = read_varint(data, position)
            found = data[position : position + size]
            position += size
        else:
            position = skip(data, position, key & 7)
    return found


def read_time(data: bytes, start: int, end: int) -> str | None:
    return go_text.time_text(_numbers(data, start, end)[0]) if start < end else None


@lru_cache(maxsize=4096)
def _time_bytes(text: str) -> bytes:
    seconds = go_text.parse_time(text)
    if seconds is None:
        return b""
    return _FIRST_NUMBER + varint(seconds) + _SECOND_NUMBER + varint(0)


def write_time(value: Any) -> bytes:
    if type(value) is not str:
        raise WrongTypeError(value, "string")
    return _time_bytes(value)


def read_micro_time(data: bytes, start: int, end: int) -> str | None:
    return go_text.micro_time_text(*_numbers(data, start, end)) if start < end else None


def write_micro_time(value: Any) -> bytes:
    if type(value) is not str:
        raise WrongTypeError(value, "string")
    moment = go_text.parse_micro_time(value)
    if moment is None:
        return b""
    return _FIRST_NUMBER + varint(moment[0]) + _SECOND_NUMBER + varint(moment[1])


def read_duration(data: bytes, start: int, end: int) -> str:
    return durations.to_text(_numbers(data, start, end)[0])


def write_duration(value: Any) -> bytes:
    if type(value) is not str:
        raise WrongTypeError(value, "string")
    return _FIRST_NUMBER + varint(durations.parse(value))


def read_quantity(data: bytes, start: int, end: int) -> str:
    text = (_first_bytes(data, start, end) or b"0").decode()
    try:
        return quantity.canonical(text)
    except quantity.QuantityError:
        return text


@lru_cache(maxsize=8192)
def _quantity_bytes(text: str) -> bytes:
    return framed(_FIRST_BYTES, quantity.canonical(text.strip()).encode())


def write_quantity(value: Any) -> bytes:
    if type(value) is str:
        return _quantity_bytes(value)
    if value is None:
        return _quantity_bytes("0")
    return _quantity_bytes(orjson.dumps(value).decode())


def read_int_or_string(data: bytes, position: int, end: int) -> int | str:
    is_text = False
    number = 0
    text = b""
    while position < end:
        key, position = read_varint(data, position)
        if key == 8:
            kind, position = read_varint(data, position)
            is_text = kind == 1
        elif key == 16:
            number, position = read_varint(data, position)
        elif key == 26:
            size, position = read_varint(data, position)
            text = data[position : position + size]
            position += size
        else:
            position = skip(data, position, key & 7)
    return text.decode() if is_text else signed(number)


@lru_cache(maxsize=1024, typed=True)
def _int_or_string_bytes(value: int | str) -> bytes:
    kind, number, text = (1, 0, value) if isinstance(value, str) else (0, value, "")
    head = _FIRST_NUMBER + varint(kind) + _SECOND_NUMBER + varint(number)
    return head + framed(_THIRD_BYTES, text.encode())


def write_int_or_string(value: Any) -> bytes:
    if value is None:
        value = 0
    if type(value) is not str and (type(value) is not int or value not in _INT32):
        raise WrongTypeError(value, "int32")
    return _int_or_string_bytes(value)


def read_raw(data: bytes, start: int, end: int) -> Any:
    raw = _first_bytes(data, start, end)
    if raw is None:
        return None
    return orjson.loads(raw)


def write_raw(value: Any) -> bytes:
    return framed(_FIRST_BYTES, orjson.dumps(value)) if value is not None else b""


def read_items(data: bytes, position: int, end: int) -> list[str]:
    items = []
    while position < end:
        key, position = read_varint(data, position)
        if key == 10:
            size, position = read_varint(data, position)
            items.append(data[position : position + size].decode())
            position += size
        else:
            position = skip(data, position, key & 7)
    return items


def write_items(value: Any) -> bytes:
    if value is None:
        return b""
    if type(value) is not list or any(type(item) is not str for item in value):
        raise WrongTypeError(value)
    return b"".join(framed(_FIRST_BYTES, item.encode()) for item in value)


READERS: dict[str, Reader] = {
    "time": read_time,
    "micro_time": read_micro_time,
    "duration": read_duration,
    "quantity": read_quantity,
    "int_or_string": read_int_or_string,
    "raw": read_raw,
    "items": read_items,
}
WRITERS: dict[str, Writer] = {
    "time": write_time,
    "micro_time": write_micro_time,
    "duration": write_duration,
    "quantity": write_quantity,
    "int_or_string": write_int_or_string,
    "raw": write_raw,
    "items": write_items,
}
# What upstream's encoder writes for the zero value.
ZERO_BYTES: dict[str, bytes] = {
    "time": b"",
    "micro_time": b"",
    "duration": write_duration("0s"),
    "quantity": write_quantity("0"),
    "int_or_string": write_int_or_string(0),
    "raw": b"",
    "items": b"",
}
