"""A running command, or a container one is attached to, as its streams."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Output(IntEnum):
    """Where output came from; the numbers are remotecommand's channels."""

    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """Of a terminal, in characters."""

    width: int
    height: int


class Process(Protocol):
    """What a session drives. With a tty all output is STDOUT."""

    async def read(self) -> tuple[Output, bytes] | None:
        """The next output; None when all has been read."""

    async def write(self, data: bytes) -> None:
        """Feeds standard input; waits while the process does not read."""

    async def close_stdin(self) -> None:
        """Ends standard input."""

    async def resize(self, size: TerminalSize) -> None:
        """Ignored without a tty."""

    async def wait(self) -> int:
        """The exit code, once it ended. Attached to a container: when its streams end, 0."""

    async def close(self) -> None:
        """Ends the session; a command that still runs is killed, a container is not."""


class ByteStream(Protocol):
    """One two-way connection."""

    async def read(self) -> bytes:
        """Some bytes; empty at the end."""

    async def write(self, data: bytes) -> None: ...

    async def close_write(self) -> None:
        """Tells the other side that no more comes."""

    async def close(self) -> None: ...
