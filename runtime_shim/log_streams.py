"""One container's streams, as the log daemon holds them: log lines, attached clients, input.

Standard library only; see log_daemon.py.
"""

import contextlib
import fcntl
import json
import os
import selectors
import socket
import struct
import sys
import termios
from collections.abc import Callable
from time import monotonic, time_ns  # noqa: TID251  no Clock in a program this small
from typing import Any, Protocol

from runtime_shim.backends import oci_runtime
from runtime_shim.log_format import LineCutter

READ_BYTES = 256 * 1024
PIPE_BYTES = 256 * 1024
DRAIN_TIMEOUT_S = 5.0
FRAME = struct.Struct(">BI")
STDIN, STDOUT, STDERR, RESIZE = 0, 1, 2, 4


class Loop(Protocol):
    """What calls back when a descriptor is ready."""

    def watch(
        self, fd: int, event: int, handler: Callable[[int], None], *, also: bool = False
    ) -> None: ...

    def unwatch(self, fd: int) -> None: ...


class Listener(Protocol):
    """A client of the daemon, as a container sees it."""

    def send(self, data: bytes) -> None: ...

    def answer(self, tree: dict[str, Any]) -> None: ...

    def finish(self) -> None: ...


class Container:
    """The open ends of one container, in the daemon's loop."""

    def __init__(self, loop: Loop, asked: dict[str, Any]) -> None:
        self.id: str = asked["id"]
        self.loop = loop
        self.directory: str = asked["dir"]
        self.log_path: str = asked["log"]
        self.tty: bool = asked["tty"]
        self.stdin_once: bool = asked["stdin_once"]
        self.log = self._open_log()
        self.clients: set[Listener] = set()
        self.waiting: list[tuple[Listener, float]] = []
        self.sources: dict[int, tuple[int, LineCutter]] = {}
        self.stdin = -1
        self.stdin_buffer = b""
        self.console: socket.socket | None = None
        self._bell = -1
        if self.tty:
            self._listen_for_console()
        else:
            self._add_source(self._open_fifo("stdout"), STDOUT, "stdout")
            self._add_source(self._open_fifo("stderr"), STDERR, "stderr")
            if asked["stdin"]:
                # Open for both: there may be no reader yet.
                path = os.path.join(self.directory, "stdin")
                self.stdin = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._await_launcher()

    def _open_log(self) -> int:
        if not self.log_path:
            return -1
        os.makedirs(os.path.dirname(self.log_path), exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self.log_path, flags, 0o640)

    def _open_fifo(self, name: str) -> int:
        path = os.path.join(self.directory, name)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # the usual size will do
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return fd

    def _add_source(self, fd: int, channel: int, stream: str) -> None:
        self.sources[fd] = (channel, LineCutter(stream))
        self.loop.watch(fd, selectors.EVENT_READ, lambda _: self.readable(fd))

    def _listen_for_console(self) -> None:
        directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY)
        try:
            # A socket's path may have 107 bytes only, and directories are what they are.
            path = f"/proc/self/fd/{directory}/{oci_runtime.CONSOLE}"
            if os.path.exists(path):
                os.unlink(path)
            self.console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.console.bind(path)
        finally:
            os.close(directory)
        self.console.listen(1)
        self.loop.watch(self.console.fileno(), selectors.EVENT_READ, self._console_came)

    def _console_came(self, _: int) -> None:
        """runc sends the terminal's master end."""
        assert self.console is not None
        connection, _address = self.console.accept()
        with connection:
            connection.settimeout(5)
            _data, fds, _flags, _from = socket.recv_fds(connection, 4096, 1)
        self.loop.unwatch(self.console.fileno())
        self.console.close()
        self.console = None
        if fds:
            os.set_blocking(fds[0], False)
            os.set_inheritable(fds[0], False)
            self.stdin = os.dup(fds[0])
            self._add_source(fds[0], STDOUT, "stdout")

    # -- start -------------------------------------------------------------------------------------

    def _await_launcher(self) -> None:
        """It rings when runc is to create the container; it may have done so to a daemon before."""
        bell = os.open(os.path.join(self.directory, oci_runtime.ASK), os.O_RDWR | os.O_NONBLOCK)

        def asked(fd: int) -> None:
            self.loop.unwatch(fd)
            os.close(fd)
            self._bell = -1
            oci_runtime.answer(self.directory)

        if oci_runtime.has_asked(self.directory):
            asked(bell)
        else:
            self._bell = bell
            self.loop.watch(bell, selectors.EVENT_READ, asked)

    # -- output ------------------------------------------------------------------------------------

    def readable(self, fd: int) -> None:
        channel, cutter = self.sources[fd]
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal's other end is closed
            data = b""
        now = time_ns()
        if not data:
            self._write_log(cutter.finish(now))
            self._close_source(fd)
            return
        self._write_log(cutter.feed(data, now))
        for client in list(self.clients):
            client.send(FRAME.pack(channel, len(data)) + data)

    def _write_log(self, data: bytes) -> None:
        if self.log < 0 or not data:
            return
        try:
            while data:
                data = data[os.write(self.log, data) :]
        except OSError as error:
            sys.stderr.write(f"{self.log_path}: {error}\n")
            sys.stderr.flush()

    def _close_source(self, fd: int) -> None:
        self.loop.unwatch(fd)
        os.close(fd)
        del self.sources[fd]
        if not self.sources:
            for client in list(self.clients):
                client.finish()
            self.clients.clear()
            for client, _ in self.waiting:
                client.answer({"ok": True})
            self.waiting.clear()

    def reopen(self) -> None:
        """Raises: OSError, and then goes on with the file it has."""
        fresh = self._open_log()
        if self.log >= 0:
            os.close(self.log)
        self.log = fresh

    def drain(self, client: Listener) -> None:
        if self.sources:
            self.waiting.append((client, monotonic() + DRAIN_TIMEOUT_S))
        else:
            client.answer({"ok": True})

    # -- input -------------------------------------------------------------------------------------

    def feed_stdin(self, data: bytes) -> None:
        if self.stdin < 0:
            return
        if not data:
            if self.stdin_once and not self.tty:
                self.close_stdin()
            return
        self.stdin_buffer += data
        self._flush_stdin(self.stdin)

    def _flush_stdin(self, _: int) -> None:
        try:
            written = os.write(self.stdin, self.stdin_buffer)
            self.stdin_buffer = self.stdin_buffer[written:]
        except BlockingIOError:
            pass
        except OSError:
            self.close_stdin()
            return
        if self.stdin_buffer:
            self.loop.watch(self.stdin, selectors.EVENT_WRITE, self._flush_stdin)
        else:
            self.loop.unwatch(self.stdin)

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            self.loop.unwatch(self.stdin)
            os.close(self.stdin)
            self.stdin = -1

    def resize(self, data: bytes) -> None:
        if self.tty and self.stdin >= 0:
            size = json.loads(data)
            rows_columns = struct.pack("HHHH", size["height"], size["width"], 0, 0)
            fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, rows_columns)

    def close(self) -> None:
        if self._bell >= 0:
            self.loop.unwatch(self._bell)
            os.close(self._bell)
            self._bell = -1
        for fd in list(self.sources):
            self.readable(fd)  # what is left in the pipe
        for fd in list(self.sources):
            self._close_source(fd)
        self.close_stdin()
        if self.console is not None:
            self.loop.unwatch(self.console.fileno())
            self.console.close()
        if self.log >= 0:
            os.close(self.log)
            self.log = -1
