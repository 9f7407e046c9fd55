"""Go's durations, `1h30m` or `500ms`: how flags and configuration files give times.

Source: Go's time.ParseDuration and time.Duration.String.
"""

import re
from typing import NewType

Duration = NewType("Duration", float)
"""Seconds. In a Config, what users give as a Go duration."""

_UNITS_NS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")


def to_text(nanoseconds: int) -> str:
    """`1h0m0s`, `1.5s`, `20ms`, `0s`."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if not rest:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if rest < size * 1000:
            return f"{sign}{_decimal(rest, size)}{unit}"
    minutes, rest = divmod(rest, _UNITS_NS["m"])
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).zfill(len(str(unit)) - 1).rstrip('0')}"


def parse(text: str) -> int:
    """Nanoseconds. Raises: ValueError with Go's text."""
    rest = text[1:] if text.startswith(("-", "+")) else text
    if rest == "0":
        return 0
    total = 0
    while rest:
        match = _PART.match(rest)
        if match is None or not (match[1] or match[2]):
            if rest[0].isdigit() or (rest[0] == "." and rest[1:2].isdigit()):
                raise ValueError(f"time: missing unit in duration {_quote(text)}")
            break
        if match[3] not in _UNITS_NS:
            raise ValueError(f"time: unknown unit {_quote(match[3])} in duration {_quote(text)}")
        unit = _UNITS_NS[match[3]]
        fraction = match[2] or ""
        total += int(match[1] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        rest = rest[match.end() :]
    else:
        if text not in {"", "-", "+"}:
            return -total if text.startswith("-") else total
    raise ValueError(f"time: invalid duration {_quote(text)}")


def seconds(text: str) -> Duration:
    """Raises: ValueError with Go's text."""
    return Duration(parse(text) / 1e9)


def of_seconds(number: float) -> str:
    """Go's form of so many seconds."""
    return to_text(round(number * 1e9))


def _quote(text: str) -> str:
    """As Go's package time quotes: everything but printable ASCII byte by byte."""
    characters = []
    for char in text:
        if char in '"\\':
            characters.append(f"\\{char}")
        elif " " <= char < "\x80":
            characters.append(char)
        else:
            characters += [f"\\x{byte:02x}" for byte in char.encode()]
    return f'"{"".join(characters)}"'
