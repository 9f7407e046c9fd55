"""Commands in a running container, by runc itself.

`nerdctl exec` takes 85 ms where runc takes 30, cannot be killed from outside, and does not pass a
terminal's size on. runc inherits user, environment, capabilities and seccomp from the container.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import tempfile
import termios
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from podpath.component_base.streaming.process import Output, TerminalSize
from runtime_shim import child, command
from runtime_shim.backend import ExecResult
from runtime_shim.errors import Code, CriError
from runtime_shim.leftovers import EXEC_SCRATCH

MAX_OUTPUT_BYTES = 8 << 20
"""Of each stream of ExecSync; what goes beyond is read and dropped, as the message is limited."""
QUEUE_CHUNKS = 32
KILL_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class ExecTarget:
    """How runc finds the container."""

    runc: str
    root: str
    container_id: str


def argv(target: ExecTarget, words: Sequence[str], scratch: Path, *, tty: bool) -> list[str]:
    """`scratch` gets the command's pid and runc's own complaints."""
    flags = ["--tty", "--env=TERM=xterm"] if tty else []
    return [
        target.runc,
        f"--root={target.root}",
        f"--log={scratch / 'log'}",
        "--log-format=json",
        "exec",
        f"--pid-file={scratch / 'pid'}",
        *flags,
        target.container_id,
        *words,
    ]


async def exec_sync(target: ExecTarget, words: Sequence[str], timeout_s: float) -> ExecResult:
    """Runs a command to its end; 0 s = no limit.

    Raises: CriError DEADLINE_EXCEEDED when it was killed, UNKNOWN if it cannot be started.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=EXEC_SCRATCH)))
        process, pipes = _spawn(argv(target, words, scratch, tty=False), stdin=False)
        stack.callback(pipes.close)
        try:
            async with asyncio.timeout(timeout_s or None):
                stdout, stderr, code = await asyncio.gather(
                    _collect(pipes.stdout), _collect(pipes.stderr), process.wait()
                )
        except TimeoutError:
            raise CriError(
                Code.DEADLINE_EXCEEDED, f"command {words[0]!r} timed out after {timeout_s:g} s"
            ) from None
        finally:
            if process.returncode is None:
                await asyncio.shield(_kill(process, scratch))
        _check_started(code, scratch)
    return ExecResult(stdout, stderr, shell_code(code))


def shell_code(code: int) -> int:
    """A death by signal as shells tell it: 128 and the signal's number."""
    return code if code >= 0 else 128 - code


@dataclass(slots=True)
class Pipes:
    """Our ends of a command's streams; -1 = there is none."""

    stdin: int
    stdout: int
    stderr: int

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        self.close_stdin()
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = -1


class RuncProcess:
    """A `Process` (see streaming/process.py). With a terminal, `pipes` holds its other end twice:
    what goes in and what comes out."""

    def __init__(
        self,
        process: child.Child,
        scratch: "tempfile.TemporaryDirectory[str]",
        pipes: Pipes,
        *,
        tty: bool,
    ) -> None:
        self._process = process
        self._scratch = scratch
        self._pipes = pipes
        self._tty = tty
        self._output: asyncio.Queue[tuple[Output, bytes] | None] = asyncio.Queue(QUEUE_CHUNKS)
        outputs = [(pipes.stdout, Output.STDOUT), (pipes.stderr, Output.STDERR)]
        self._readers = [
            asyncio.ensure_future(self._read(fd, output)) for fd, output in outputs if fd >= 0
        ]
        self._open = len(self._readers)
        self._closed = False

    async def read(self) -> tuple[Output, bytes] | None:
        while self._open:
            item = await self._output.get()
            if item is not None:
                return item
            self._open -= 1
        return None

    async def write(self, data: bytes) -> None:
        if self._pipes.stdin >= 0:
            await child.write_fully(self._pipes.stdin, data)

    async def close_stdin(self) -> None:
        if not self._tty:
            self._pipes.close_stdin()

    async def resize(self, size: TerminalSize) -> None:
        if self._tty:
            rows_columns = struct.pack("HHHH", size.height, size.width, 0, 0)
            fcntl.ioctl(self._pipes.stdin, termios.TIOCSWINSZ, rows_columns)
            self._process.send_signal(signal.SIGWINCH)

    async def wait(self) -> int:
        """Raises: CriError if the command could not be started."""
        code = await self._process.wait()
        _check_started(code, Path(self._scratch.name))
        return shell_code(code)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for reader in self._readers:
            reader.cancel()
        await asyncio.wait(self._readers)  # none may look at a descriptor that is closed
        if self._process.returncode is None:
            await _kill(self._process, Path(self._scratch.name))
        self._pipes.close()
        self._scratch.cleanup()

    async def _read(self, fd: int, output: Output) -> None:
        while data := await child.read_some(fd):
            await self._output.put((output, data))
        await self._output.put(None)


async def start(target: ExecTarget, words: Sequence[str], *, tty: bool, stdin: bool) -> RuncProcess:
    """Starts a command whose streams the caller drives. Raises: CriError."""
    scratch = tempfile.TemporaryDirectory(prefix=EXEC_SCRATCH)
    line = argv(target, words, Path(scratch.name), tty=tty)
    try:
        process, pipes = _spawn_on_terminal(line) if tty else _spawn(line, stdin=stdin)
    except BaseException:
        scratch.cleanup()
        raise
    return RuncProcess(process, scratch, pipes, tty=tty)


def _spawn(line: Sequence[str], *, stdin: bool) -> tuple[child.Child, Pipes]:
    """In a session of its own. Raises: CriError."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    theirs_in, ours_in = os.pipe() if stdin else (null, -1)
    ours_out, theirs_out = os.pipe()
    ours_err, theirs_err = os.pipe()
    pipes = Pipes(ours_in, ours_out, ours_err)
    theirs = (theirs_in, theirs_out, theirs_err)
    try:
        for fd in (ours_in, ours_out, ours_err):
            if fd >= 0:
                os.set_blocking(fd, False)
        return child.spawn(line, theirs, command.ENVIRONMENT, new_session=True), pipes
    except BaseException:
        pipes.close()
        raise
    finally:
        for fd in {null, *theirs}:
            os.close(fd)


def _spawn_on_terminal(line: Sequence[str]) -> tuple[child.Child, Pipes]:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    pipes = Pipes(os.dup(master), master, -1)
    try:
        streams = (slave, slave, slave)
        return child.spawn(line, streams, command.ENVIRONMENT, new_session=True), pipes
    except BaseException:
        pipes.close()
        raise
    finally:
        os.close(slave)


async def _kill(process: child.Child, scratch: Path) -> None:
    """The command, with all it started in its session, then runc."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((scratch / "pid").read_text())
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_WAIT_S):
            await process.wait()
            return
    process.kill()
    await process.wait()


def _check_started(code: int, scratch: Path) -> None:
    """runc fails with 255 or 1 and says why in its log; a command may return those as well."""
    if code == 0:
        return
    try:
        lines = (scratch / "log").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if entry.get("level") == "error":
                raise CriError(Code.UNKNOWN, f"exec failed: {entry['msg']}")


async def _collect(fd: int) -> bytes:
    chunks: list[bytes] = []
    room = MAX_OUTPUT_BYTES
    while data := await child.read_some(fd):
        if room > 0:
            chunks.append(data[:room])
            room -= len(data)
    return b"".join(chunks)
