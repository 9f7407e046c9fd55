"""How Go writes strings and times, for texts and JSON that must match upstream's.

Source: Go's strconv.Quote and time.RFC3339; k8s.io/apimachinery
pkg/apis/meta/v1/{time,micro_time}.go. Durations: podpath/component_base/durations.py.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_1 = -62135596800  # seconds of Go's zero time

_RFC3339 = "2006-01-02T15:04:05Z07:00"
_RFC3339_MICRO = "2006-01-02T15:04:05.000000Z07:00"
_ELEMENTS = re.compile(r"2006|01|02|15|04|05|\.000000|Z07:00|.")
_PATTERNS = {
    "2006": r"[0-9]{4}",
    **dict.fromkeys(("01", "02", "15", "04", "05"), r"[0-9]{2}"),
    ".000000": r"\.[0-9]{6}",
    "Z07:00": r"Z|[+-][0-9]{2}:[0-9]{2}",
}

_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r",
    "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def quote(text: str) -> str:
    """Go's `%q`."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_escape, text))}"'


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@lru_cache(maxsize=4096)
def time_text(seconds: int) -> str:
    """`2024-01-02T03:04:05Z`."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def micro_time_text(seconds: int, nanos: int) -> str:
    """`2024-01-02T03:04:05.000006Z`."""
    return f"{time_text(seconds)[:-1]}.{nanos // 1000:06d}Z"


@lru_cache(maxsize=4096)
def parse_time(text: str) -> int | None:
    """Seconds since 1970, None for Go's zero time. Raises: ValueError with Go's text."""
    seconds, _ = _parse(text, _RFC3339)
    return None if seconds == _YEAR_1 else seconds


def parse_micro_time(text: str) -> tuple[int, int] | None:
    """Seconds and nanoseconds, None for Go's zero time. Raises: ValueError with Go's text."""
    seconds, nanos = _parse(text, _RFC3339_MICRO)
    return None if seconds == _YEAR_1 and not nanos else (seconds, nanos // 1000 * 1000)


def _parse(text: str, layout: str) -> tuple[int, int]:
    found: dict[str, str] = {}
    rest = text
    for element in _ELEMENTS.findall(layout):
        match = re.match(_PATTERNS.get(element, re.escape(element)), rest, re.ASCII)
        if match is None:
            raise ValueError(
                f"parsing time {quote(text)} as {quote(layout)}: "
                f"cannot parse {quote(rest)} as {quote(element)}"
            )
        found[element] = match[0]
        rest = rest[match.end() :]
        if element == "05" and layout == _RFC3339:
            # Go takes a fraction of a second although the layout has none.
            fraction = re.match(r"[.,][0-9]+", rest, re.ASCII)
            rest = rest[fraction.end() :] if fraction else rest
    if rest:
        raise ValueError(f"parsing time {quote(text)}: extra text: {quote(rest)}")
    return _instant(text, found)


def _instant(text: str, found: dict[str, str]) -> tuple[int, int]:
    _check_ranges(text, found)
    try:
        day = datetime(max(int(found["2006"]), 1), int(found["01"]), int(found["02"]), tzinfo=UTC)
    except ValueError:
        raise ValueError(f"parsing time {quote(text)}: day out of range") from None
    seconds = (day - _EPOCH).days * 86400
    seconds += int(found["15"]) * 3600 + int(found["04"]) * 60 + int(found["05"])
    zone = found["Z07:00"]
    if zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds += offset if zone[0] == "-" else -offset
    return seconds, int(found.get(".000000", ".0")[1:]) * 1000


def _check_ranges(text: str, found: dict[str, str]) -> None:
    limits = {
        "01": (1, 12, "month"),
        "02": (1, 31, "day"),
        "15": (0, 23, "hour"),
        "04": (0, 59, "minute"),
        "05": (0, 59, "second"),
    }
    for element, (low, high, name) in limits.items():
        if not low <= int(found[element]) <= high:
            raise ValueError(f"parsing time {quote(text)}: {name} out of range")
