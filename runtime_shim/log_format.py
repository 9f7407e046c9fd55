"""CRI's log lines: `TIME STREAM TAG CONTENT`. Pure but for `append_lines`.

Source: k8s.io/cri-client pkg/logs, containerd internal/cri/io/logger.go (16 KiB a line).
This module is also loaded by the log daemon, which must stay small: standard library only.
"""

import os
import time

MAX_LINE_BYTES = 16 * 1024
"""Longer lines are cut into parts, tagged P but for the last."""


def timestamp(at_ns: int) -> bytes:
    """RFC 3339 in UTC with nine fraction digits."""
    seconds, fraction = divmod(at_ns, 1_000_000_000)
    return b"%s.%09dZ" % (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(),
        fraction,
    )


class LineCutter:
    """Turns what one stream of a container says, as it comes, into log lines.

    A line is written when its newline has come; one that grows over MAX_LINE_BYTES is written in
    parts at once, so at most that much is ever held back.
    """

    __slots__ = ("_rest", "_stream")

    def __init__(self, stream: str) -> None:
        self._stream = stream.encode()
        self._rest = b""

    def feed(self, data: bytes, at_ns: int) -> bytes:
        """The log lines that `data` completes; all bear the time `at_ns`."""
        head = b"%s %s " % (timestamp(at_ns), self._stream)
        *lines, rest = (self._rest + data).split(b"\n")
        parts: list[bytes] = []
        full, part = head + b"F ", head + b"P "
        if lines and len(max(lines, key=len)) <= MAX_LINE_BYTES:
            parts.append(full + (b"\n" + full).join(lines) + b"\n")
        else:
            for line in lines:
                self._cut(line, full, part, parts)
        while len(rest) > MAX_LINE_BYTES:
            parts.append(part + rest[:MAX_LINE_BYTES] + b"\n")
            rest = rest[MAX_LINE_BYTES:]
        self._rest = rest
        return b"".join(parts)

    def finish(self, at_ns: int) -> bytes:
        """What was said without a newline at the end, as a partial line."""
        if not self._rest:
            return b""
        line = b"%s %s P %s\n" % (timestamp(at_ns), self._stream, self._rest)
        self._rest = b""
        return line

    @staticmethod
    def _cut(line: bytes, full: bytes, part: bytes, parts: list[bytes]) -> None:
        while len(line) > MAX_LINE_BYTES:
            parts.append(part + line[:MAX_LINE_BYTES] + b"\n")
            line = line[MAX_LINE_BYTES:]
        parts.append(full + line + b"\n")


def append_lines(path: str, at_ns: int, stream: str, text: str) -> None:
    """Appends `text`, line by line. Raises: OSError."""
    head = b"%s %s F " % (timestamp(at_ns), stream.encode())
    content = b"".join(head + line.encode() + b"\n" for line in text.splitlines())
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
