"""Reads and follows a container's log file.

Source: k8s.io/cri-client pkg/logs/logs.go (ReadLogs), tail.go.
"""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from kubelet.log_lines import LogLine, parse_line
from podpath.component_base.clock import Clock

POLL_S = 0.1
CHUNK_BYTES = 64 * 1024
_BLOCK_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class LogOptions:
    """PodLogOptions. `tail` counts lines of the file; -1 means all, as `limit_bytes` -1 does."""

    follow: bool = False
    timestamps: bool = False
    tail: int = -1
    limit_bytes: int = -1
    since: datetime | None = None
    stream: str = ""


def parse_options(query: dict[str, str], now: datetime) -> LogOptions:
    """From the query of a request. Raises: ValueError with what is wrong."""
    since = None
    if query.get("sinceTime"):
        since = datetime.fromisoformat(query["sinceTime"])
    if query.get("sinceSeconds"):
        since = now - timedelta(seconds=_number(query, "sinceSeconds"))
    stream = query.get("stream", "").lower()
    return LogOptions(
        follow=query.get("follow", "") in ("true", "1"),
        timestamps=query.get("timestamps", "") in ("true", "1"),
        tail=_number(query, "tailLines") if query.get("tailLines") else -1,
        limit_bytes=_number(query, "limitBytes") if query.get("limitBytes") else -1,
        since=since,
        stream=stream if stream in ("stdout", "stderr") else "",
    )


def _number(query: dict[str, str], name: str) -> int:
    text = query[name]
    if not text.isdigit():
        raise ValueError(f"{name}: must be a number that is not negative, not {text!r}")
    return int(text)


async def read_log(
    path: str, options: LogOptions, clock: Clock, is_running: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The log as the user sees it, in pieces. With `follow` until the container has ended and all
    is read; a rotated file is read to its end before the new one is opened. Raises: OSError."""
    shower = _Shower(options)
    file = open(path, "rb")  # noqa: SIM115 - replaced by the new file after a rotation
    try:
        file.seek(tail_offset(file, options.tail))
        pending = b""
        while True:
            # Both are asked first: what was written until then is read below.
            alive = is_running()
            rotated = options.follow and _rotated(file, path)
            while chunk := file.read(CHUNK_BYTES):
                *lines, pending = (pending + chunk).split(b"\n")
                shown = b"".join(shower.show(line) for line in lines)
                if shown:
                    yield shown
                if shower.full:
                    return
            if not options.follow:
                return
            if rotated:
                file.close()
                file = open(path, "rb")  # noqa: SIM115
                pending = b""
                continue
            if not alive:
                return
            await clock.sleep(POLL_S)
    finally:
        file.close()


def _rotated(file: BinaryIO, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        # Between the rename and the reopening.
        return False
    mine = os.fstat(file.fileno())
    return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines begin."""
    if lines < 0:
        return 0
    end = file.seek(0, os.SEEK_END)
    if lines == 0:
        return end
    found = 0
    position = end
    while position > 0:
        start = max(0, position - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(position - start)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            # The newline that ends the file begins no line.
            if start + at + 1 < end:
                found += 1
                if found == lines:
                    return start + at + 1
        position = start
    return 0


class _Shower:
    """Turns lines of the file into what is shown."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._at_line_start = True
        self._since = b""
        if options.since is not None:
            # Times of one format compare as texts.
            moment = options.since.astimezone(UTC)
            self._since = moment.strftime("%Y-%m-%dT%H:%M:%S.%f").encode()

    @property
    def full(self) -> bool:
        return self._left == 0

    def show(self, raw: bytes) -> bytes:
        line = parse_line(raw)
        if line is None or self.full or not self._wanted(line):
            return b""
        text = line.content
        if self._options.timestamps and self._at_line_start:
            text = line.time + b" " + text
        self._at_line_start = not line.partial
        if self._left >= 0:
            text = text[: self._left]
            self._left -= len(text)
        return text

    def _wanted(self, line: LogLine) -> bool:
        if self._options.stream and line.stream != self._options.stream:
            return False
        return not self._since or line.time[: len(self._since)] >= self._since
