"""Starting programs and speaking with them, without a copy of this process.

`asyncio.create_subprocess_exec` on uvloop costs 3.5 ms of CPU, and the loop stands still for tens
of milliseconds on a busy machine: it forks and closes every descriptor that could be open.
posix_spawn costs 0.2 ms. What children must not inherit is opened close-on-exec in all of this
process, as Python and gRPC do.
"""

import asyncio
import errno
import os
import shutil
import signal
from collections.abc import Mapping, Sequence

from runtime_shim.errors import Code, CriError

CHUNK_BYTES = 64 * 1024


class Child:
    """A program that was started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        """As in `subprocess`: the exit code, or a signal's number below zero."""
        self._pidfd = os.pidfd_open(pid)
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        loop.add_reader(self._pidfd, self._reap)

    async def wait(self) -> int:
        await asyncio.shield(self._ended)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        if self.returncode is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        if not self._ended.done():
            self._ended.set_result(None)


def spawn(
    argv: Sequence[str],
    streams: tuple[int, int, int],
    environment: Mapping[str, str],
    *,
    new_session: bool = False,
) -> Child:
    """Starts a program; `streams` are the descriptors that become its 0, 1 and 2.

    Raises: CriError UNAVAILABLE (it is missing), INVALID_ARGUMENT (too many arguments).
    """
    name = os.path.basename(argv[0])
    program = shutil.which(argv[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise CriError(Code.UNAVAILABLE, f"{argv[0]}: {os.strerror(errno.ENOENT)}")
    try:
        pid = os.posix_spawn(
            program,
            list(argv),
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(streams)],
            setsid=new_session,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores them
        )
    except OSError as error:
        code = Code.INVALID_ARGUMENT if error.errno == errno.E2BIG else Code.UNAVAILABLE
        raise CriError(code, f"{name}: {os.strerror(error.errno or 0)}") from error
    return Child(pid)


async def read_some(fd: int) -> bytes:
    """From a non-blocking pipe or terminal; empty when its other end is closed."""
    while True:
        try:
            return os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            await _ready(fd, writing=False)
        except OSError as error:
            if error.errno == errno.EIO:  # how a terminal says it
                return b""
            raise


async def write_fully(fd: int, data: bytes) -> None:
    """To a non-blocking pipe or terminal. Raises: BrokenPipeError."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            await _ready(fd, writing=True)


async def _ready(fd: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    add, remove = (
        (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    )
    add(fd, _wake, ready)
    try:
        await ready
    finally:
        remove(fd)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
