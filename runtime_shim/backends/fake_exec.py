"""Commands inside a fake container: they print what was declared, or what `echo` and `cat` would.

`exit N`, `true` and `false` (also behind `sh -c`) do what they say; any other command prints its
own words, so that a caller sees what arrived.
"""

import asyncio
import contextlib
import shlex
from collections.abc import Sequence

from podpath.component_base.streaming.process import Output, TerminalSize
from runtime_shim.backend import ExecResult

QUEUE_LIMIT = 64


def answer(command: Sequence[str], stdout: str, exit_code: str) -> ExecResult:
    """What a command without input prints and returns."""
    words = list(command)
    if words[:2] == ["sh", "-c"] and len(words) > 2:
        with contextlib.suppress(ValueError):
            words = shlex.split(words[2])
    declared_code = int(exit_code) if exit_code.lstrip("-").isdigit() else 0
    if stdout:
        return ExecResult(stdout.encode() + b"\n", b"", declared_code)
    match words:
        case ["echo", *rest]:
            return ExecResult(" ".join(rest).encode() + b"\n", b"", declared_code)
        case ["exit", code] if code.isdigit():
            return ExecResult(b"", b"", int(code))
        case ["false"]:
            return ExecResult(b"", b"", 1)
        case ["true"] | ["cat"]:
            return ExecResult(b"", b"", declared_code)
        case _:
            return ExecResult(" ".join(words).encode() + b"\n", b"", declared_code)


class FakeProcess:
    """A `Process` (see streaming/process.py): `cat` and `sh` give their input back."""

    def __init__(self, command: Sequence[str], stdout: str, exit_code: str, stdin: bool) -> None:
        self._output: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_LIMIT)
        self._echoes = stdin and command[0] in ("cat", "sh") and "-c" not in command
        self._code = 0
        if not self._echoes:
            result = answer(command, stdout, exit_code)
            self._code = result.exit_code
            if result.stdout:
                self._output.put_nowait(result.stdout)
            self._output.put_nowait(None)

    async def read(self) -> tuple[Output, bytes] | None:
        data = await self._output.get()
        if data is None:
            self._output.put_nowait(None)
            return None
        return Output.STDOUT, data

    async def write(self, data: bytes) -> None:
        if self._echoes:
            await self._output.put(data)

    async def close_stdin(self) -> None:
        if self._echoes:
            self._echoes = False
            await self._output.put(None)

    async def resize(self, size: TerminalSize) -> None:
        pass

    async def wait(self) -> int:
        return self._code

    async def close(self) -> None:
        self._echoes = False
        with contextlib.suppress(asyncio.QueueFull):
            self._output.put_nowait(None)
