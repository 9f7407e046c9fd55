"""Protobuf's wire form, as far as the JSON converters need it."""

from functools import cache

VARINT = 0
BYTES = 2

# The lengths and numbers that fill most messages.
SMALL_VARINTS = tuple(bytes((number,)) for number in range(128))

_SIGN = 1 << 63
_WRAP = 1 << 64


def varint(number: int) -> bytes:
    """The varint of a signed 64-bit number."""
    if 0 <= number < 128:
        return SMALL_VARINTS[number]
    if number < 0:
        number += _WRAP
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


@cache
def tag(number: int, wire_type: int) -> bytes:
    """What stands before a field's value."""
    return varint(number << 3 | wire_type)


def framed(field_tag: bytes, body: bytes) -> bytes:
    """A length-delimited field."""
    size = len(body)
    if size < 128:
        return field_tag + SMALL_VARINTS[size] + body
    return field_tag + varint(size) + body


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, not yet signed, and the position after it."""
    byte = data[position]
    position += 1
    if byte < 128:
        return byte, position
    number = byte & 127
    shift = 7
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
        shift += 7


def signed(number: int) -> int:
    """A varint's number as the signed integer it stands for."""
    return number - _WRAP if number >= _SIGN else number


def skip(data: bytes, position: int, wire_type: int) -> int:
    """The position after a value of `wire_type`. Raises: ValueError for groups."""
    if wire_type == VARINT:
        return read_varint(data, position)[1]
    if wire_type == BYTES:
        size, position = read_varint(data, position)
        return position + size
    if wire_type in {1, 5}:
        return position + (8 if wire_type == 1 else 4)
    raise ValueError(f"wire type {wire_type} is not supported")
