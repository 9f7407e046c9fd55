"""One process for each node that reads all containers' output: `python -ISE log_daemon.py DIR`.

It writes CRI's log lines, reopens files for rotation, and copies output to those who are attached.
It outlives the shim, so that logging goes on while the shim is restarted; it ends by itself when it
has no container and no connection for a while. Standard library only and no asyncio: about 10 MiB.

Protocol, on the unix socket DIR/logd.sock: one JSON object a line, answered by one JSON object:
    {"op": "add", "id", "dir", "log", "tty", "stdin", "stdin_once"}  begin to read a container
    {"op": "reopen", "id"}     close the log and open its path anew
    {"op": "drain", "id"}      answer when the container's output has been read to its end
    {"op": "drop", "id"}       forget it
    {"op": "attach", "id"}     answered {"ok": true}; then the connection carries frames
Frames: channel (1 byte), length (4 bytes, big-endian), bytes. Out: 1 stdout, 2 stderr; in: 0 stdin
(no bytes: end of input), 4 a terminal's size as JSON.
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
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from runtime_shim.log_format import LineCutter

READ_BYTES = 256 * 1024
PIPE_BYTES = 256 * 1024
MAX_BUFFERED_BYTES = 4 << 20
"""A client of attach that falls this far behind is cut off; a container never waits for one."""
DRAIN_TIMEOUT_S = 5.0
IDLE_EXIT_S = 30.0
FRAME = struct.Struct(">BI")
STDIN, STDOUT, STDERR, RESIZE = 0, 1, 2, 4


class Container:
    """The open ends of one container."""

    def __init__(self, daemon: "Daemon", asked: dict[str, Any]) -> None:
        self.id: str = asked["id"]
        self.daemon = daemon
        self.directory: str = asked["dir"]
        self.log_path: str = asked["log"]
        self.tty: bool = asked["tty"]
        self.stdin_once: bool = asked["stdin_once"]
        self.log = self._open_log()
        self.clients: set[Client] = set()
        self.waiting: list[tuple[Client, float]] = []
        self.sources: dict[int, tuple[int, LineCutter]] = {}
        self.stdin = -1
        self.stdin_buffer = b""
        self.console: socket.socket | None = None
        if self.tty:
            self._listen_for_console()
        else:
            self._add_source(self._open_fifo("stdout"), STDOUT, "stdout")
            self._add_source(self._open_fifo("stderr"), STDERR, "stderr")
            if asked["stdin"]:
                # Open for both: there may be no reader yet.
                path = os.path.join(self.directory, "stdin")
                self.stdin = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

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
        self.daemon.watch(fd, selectors.EVENT_READ, lambda _: self.readable(fd))

    def _listen_for_console(self) -> None:
        path = os.path.join(self.directory, "console")
        if os.path.exists(path):
            os.unlink(path)
        self.console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.console.bind(path)
        self.console.listen(1)
        self.daemon.watch(self.console.fileno(), selectors.EVENT_READ, self._console_came)

    def _console_came(self, _: int) -> None:
        """runc sends the terminal's master end."""
        assert self.console is not None
        connection, _address = self.console.accept()
        with connection:
            connection.settimeout(5)
            _data, fds, _flags, _from = socket.recv_fds(connection, 4096, 1)
        self.daemon.unwatch(self.console.fileno())
        self.console.close()
        self.console = None
        if fds:
            os.set_blocking(fds[0], False)
            os.set_inheritable(fds[0], False)
            self.stdin = os.dup(fds[0])
            self._add_source(fds[0], STDOUT, "stdout")

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
        self.daemon.unwatch(fd)
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

    def drain(self, client: "Client") -> None:
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
            self.daemon.watch(self.stdin, selectors.EVENT_WRITE, self._flush_stdin)
        else:
            self.daemon.unwatch(self.stdin)

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            self.daemon.unwatch(self.stdin)
            os.close(self.stdin)
            self.stdin = -1

    def resize(self, data: bytes) -> None:
        if self.tty and self.stdin >= 0:
            size = json.loads(data)
            rows_columns = struct.pack("HHHH", size["height"], size["width"], 0, 0)
            fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, rows_columns)

    def close(self) -> None:
        for fd in list(self.sources):
            self.readable(fd)  # what is left in the pipe
        for fd in list(self.sources):
            self._close_source(fd)
        self.close_stdin()
        if self.console is not None:
            self.daemon.unwatch(self.console.fileno())
            self.console.close()
        if self.log >= 0:
            os.close(self.log)
            self.log = -1


class Client:
    """One connection: commands first, frames once it is attached."""

    def __init__(self, daemon: "Daemon", connection: socket.socket) -> None:
        self.daemon = daemon
        self.socket = connection
        self.received = b""
        self.unsent = b""
        self.attached: Container | None = None
        self.finishing = False
        daemon.watch(connection.fileno(), selectors.EVENT_READ, self.readable)

    def readable(self, _: int) -> None:
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.received += data
        while self.attached is None and b"\n" in self.received:
            line, _sep, self.received = self.received.partition(b"\n")
            self._command(json.loads(line))
        if self.attached is not None:
            self._frames(self.attached)

    def _command(self, asked: dict[str, Any]) -> None:
        try:
            self.daemon.handle(self, asked)
        except (OSError, KeyError) as error:
            self.answer({"ok": False, "error": str(error)})

    def _frames(self, container: Container) -> None:
        while len(self.received) >= FRAME.size:
            channel, length = FRAME.unpack_from(self.received)
            if len(self.received) < FRAME.size + length:
                break
            payload = self.received[FRAME.size : FRAME.size + length]
            self.received = self.received[FRAME.size + length :]
            if channel == STDIN:
                container.feed_stdin(payload)
            elif channel == RESIZE:
                container.resize(payload)

    def answer(self, tree: dict[str, Any]) -> None:
        self.send(json.dumps(tree).encode() + b"\n")

    def send(self, data: bytes) -> None:
        self.unsent += data
        if len(self.unsent) > MAX_BUFFERED_BYTES:
            self.close()
            return
        self._flush(0)

    def finish(self) -> None:
        """Closes once all is sent."""
        self.finishing = True
        self._flush(0)

    def _flush(self, _: int) -> None:
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self.finishing and not self.unsent:
            self.close()
        elif self.unsent:
            self.daemon.watch(self.socket.fileno(), selectors.EVENT_WRITE, self._flush, also=True)
        else:
            self.daemon.unwatch_write(self.socket.fileno())

    def close(self) -> None:
        if self.socket.fileno() < 0:
            return
        self.daemon.unwatch(self.socket.fileno())
        self.daemon.clients.discard(self)
        if self.attached is not None:
            self.attached.clients.discard(self)
            if self.attached.stdin_once:
                self.attached.feed_stdin(b"")
        self.socket.close()


class Daemon:
    """The loop."""

    def __init__(self, directory: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.handlers: dict[int, dict[int, Callable[[int], None]]] = {}
        self.containers: dict[str, Container] = {}
        self.clients: set[Client] = set()
        path = os.path.join(directory, "logd.sock")
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        self.listener.bind(path)
        os.umask(mask)
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.watch(self.listener.fileno(), selectors.EVENT_READ, self._accept)

    def watch(
        self, fd: int, event: int, handler: Callable[[int], None], *, also: bool = False
    ) -> None:
        known = self.handlers.get(fd)
        if known is None:
            self.handlers[fd] = {event: handler}
            self.selector.register(fd, event)
            return
        if not also:
            known.clear()
        known[event] = handler
        self.selector.modify(fd, sum(known))

    def unwatch(self, fd: int) -> None:
        if self.handlers.pop(fd, None) is not None:
            self.selector.unregister(fd)

    def unwatch_write(self, fd: int) -> None:
        known = self.handlers.get(fd)
        if known and known.pop(selectors.EVENT_WRITE, None):
            self.selector.modify(fd, sum(known))

    def _accept(self, _: int) -> None:
        connection, _address = self.listener.accept()
        connection.setblocking(False)
        self.clients.add(Client(self, connection))

    def handle(self, client: Client, asked: dict[str, Any]) -> None:
        op = asked["op"]
        if op == "add":
            if asked["id"] not in self.containers:
                self.containers[asked["id"]] = Container(self, asked)
            client.answer({"ok": True})
        elif op == "drop":
            if container := self.containers.pop(asked["id"], None):
                container.close()
            client.answer({"ok": True})
        elif op == "drain":
            self.containers[asked["id"]].drain(client)
        elif op == "reopen":
            self.containers[asked["id"]].reopen()
            client.answer({"ok": True})
        elif op == "attach":
            container = self.containers[asked["id"]]
            client.attached = container
            container.clients.add(client)
            client.answer({"ok": True})
            if not container.sources and container.console is None:
                client.finish()
        else:
            client.answer({"ok": False, "error": f"unknown operation {op!r}"})

    def run(self) -> None:
        idle_since = monotonic()
        while True:
            for key, events in self.selector.select(1.0):
                for event in (selectors.EVENT_READ, selectors.EVENT_WRITE):
                    handler = self.handlers.get(key.fd, {}).get(event)
                    if events & event and handler is not None:
                        handler(key.fd)
            now = monotonic()
            self._give_up_waiting(now)
            if self.containers or self.clients:
                idle_since = now
            elif now - idle_since > IDLE_EXIT_S:
                return

    def _give_up_waiting(self, now: float) -> None:
        for container in self.containers.values():
            for client, until in list(container.waiting):
                if now > until:
                    container.waiting.remove((client, until))
                    client.answer({"ok": False, "error": "its output did not end"})


if __name__ == "__main__":
    Daemon(sys.argv[1]).run()
