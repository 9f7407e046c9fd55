"""Lines of a container's log: `TIME STREAM TAGS CONTENT`. Pure.

Source: k8s.io/cri-client pkg/logs/logs.go, k8s.io/cri-api constants.go.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """`content` ends with a newline unless the line is only a part (`partial`)."""

    time: bytes
    stream: str
    partial: bool
    content: bytes


def parse_line(raw: bytes) -> LogLine | None:
    """One line of the file; None for what is not in this format."""
    parts = raw.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3:
        return None
    stream = parts[1].decode("ascii", "replace")
    if stream not in ("stdout", "stderr"):
        return None
    partial = parts[2].split(b":", 1)[0] == b"P"
    content = parts[3] if len(parts) == 4 else b""
    return LogLine(parts[0], stream, partial, content if partial else content + b"\n")
