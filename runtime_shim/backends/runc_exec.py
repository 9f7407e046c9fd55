"""Commands in a running container, by runc itself.

`nerdctl exec` takes 85 ms where runc takes 30, cannot be killed from outside, and does not pass a
terminal's size on. runc inherits user, environment, capabilities and seccomp from the container.
"""

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import pty
import signal
import struct
import tempfile
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podpath.component_base.streaming.process import Output, TerminalSize
from runtime_shim import command
from runtime_shim.backend import ExecResult
from runtime_shim.errors import Code, CriError
from runtime_shim.leftovers import EXEC_SCRATCH

MAX_OUTPUT_BYTES = 8 << 20
"""Of each stream of ExecSync; what goes beyond is read and dropped, as the message is limited."""
QUEUE_CHUNKS = 32
CHUNK_BYTES = 64 * 1024
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
    with tempfile.TemporaryDirectory(prefix=EXEC_SCRATCH) as directory:
        scratch = Path(directory)
        process = await _spawn(argv(target, words, scratch, tty=False), -1)
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(timeout_s or None):
                stdout, stderr, code = await asyncio.gather(
                    _collect(process.stdout), _collect(process.stderr), process.wait()
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


class RuncProcess:
    """A `Process` (see streaming/process.py)."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        scratch: "tempfile.TemporaryDirectory[str]",
        master: int,
    ) -> None:
        self._process = process
        self._scratch = scratch
        self._master = master
        self._output: asyncio.Queue[tuple[Output, bytes] | None] = asyncio.Queue(QUEUE_CHUNKS)
        self._readers: list[asyncio.Task[None]] = []
        self._open = 0
        self._closed = False

    def begin(self) -> None:
        """Starts to read its output."""
        if self._master >= 0:
            self._readers.append(asyncio.ensure_future(self._read_terminal()))
        else:
            assert self._process.stdout is not None
            assert self._process.stderr is not None
            for stream, output in (
                (self._process.stdout, Output.STDOUT),
                (self._process.stderr, Output.STDERR),
            ):
                self._readers.append(asyncio.ensure_future(self._read_pipe(stream, output)))
        self._open = len(self._readers)

    async def read(self) -> tuple[Output, bytes] | None:
        while self._open:
            item = await self._output.get()
            if item is not None:
                return item
            self._open -= 1
        return None

    async def write(self, data: bytes) -> None:
        if self._master >= 0:
            await _write_fully(self._master, data)
        elif self._process.stdin is not None:
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        if self._master < 0 and self._process.stdin is not None:
            self._process.stdin.close()

    async def resize(self, size: TerminalSize) -> None:
        if self._master >= 0:
            rows_columns = struct.pack("HHHH", size.height, size.width, 0, 0)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, rows_columns)
            with contextlib.suppress(ProcessLookupError):
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
        if self._process.returncode is None:
            await _kill(self._process, Path(self._scratch.name))
        if self._master >= 0:
            os.close(self._master)
        self._scratch.cleanup()

    async def _read_pipe(self, stream: asyncio.StreamReader, output: Output) -> None:
        while data := await stream.read(CHUNK_BYTES):
            await self._output.put((output, data))
        await self._output.put(None)

    async def _read_terminal(self) -> None:
        while data := await _read_some(self._master):
            await self._output.put((Output.STDOUT, data))
        await self._output.put(None)


async def start(target: ExecTarget, words: Sequence[str], *, tty: bool, stdin: bool) -> RuncProcess:
    """Starts a command whose streams the caller drives. Raises: CriError."""
    scratch = tempfile.TemporaryDirectory(prefix=EXEC_SCRATCH)
    master = slave = -1
    if tty:
        master, slave = pty.openpty()
        os.set_blocking(master, False)
    try:
        line = argv(target, words, Path(scratch.name), tty=tty)
        process = await _spawn(line, slave, stdin=stdin)
    except BaseException:
        scratch.cleanup()
        if master >= 0:
            os.close(master)
        raise
    finally:
        if slave >= 0:
            os.close(slave)
    started = RuncProcess(process, scratch, master)
    started.begin()
    return started


async def _spawn(
    line: Sequence[str], terminal: int, *, stdin: bool = False
) -> asyncio.subprocess.Process:
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    streams = (terminal,) * 3 if terminal >= 0 else (pipe if stdin else nothing, pipe, pipe)
    try:
        return await asyncio.create_subprocess_exec(
            *line,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=command.ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        code = Code.INVALID_ARGUMENT if error.errno == errno.E2BIG else Code.UNAVAILABLE
        raise CriError(code, f"{line[0]}: {os.strerror(error.errno or 0)}") from error


async def _kill(process: asyncio.subprocess.Process, scratch: Path) -> None:
    """The command, with all it started in its session, then runc."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((scratch / "pid").read_text())
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_WAIT_S):
            await process.wait()
            return
    with contextlib.suppress(ProcessLookupError):
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


async def _collect(stream: asyncio.StreamReader) -> bytes:
    chunks: list[bytes] = []
    room = MAX_OUTPUT_BYTES
    while data := await stream.read(CHUNK_BYTES):
        if room > 0:
            chunks.append(data[:room])
            room -= len(data)
    return b"".join(chunks)


async def _read_some(fd: int) -> bytes:
    """From a non-blocking terminal; empty when its other end is closed."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_reader(fd, _wake, ready)
            try:
                await ready
            finally:
                loop.remove_reader(fd)
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise


async def _write_fully(fd: int, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_writer(fd, _wake, ready)
            try:
                await ready
            finally:
                loop.remove_writer(fd)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
