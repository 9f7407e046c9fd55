"""One process for each node that reads all containers' output: `python -ISE log_daemon.py DIR`.

It writes CRI's log lines, reopens files for rotation, copies output to those who are attached, and
finishes the OCI spec of containers that start (backends/oci_runtime.py). It outlives the shim, so
that all this goes on while the shim is restarted; it ends by itself when it has no container and no
connection for a while. Standard library only and no asyncio: about 12 MiB.

Protocol, on the unix socket DIR/logd.sock: one JSON object a line, answered by one JSON object:
    {"op": "add", "id", "dir", "log", "tty", "stdin", "stdin_once"}  begin to read a container
    {"op": "reopen", "id"}     close the log and open its path anew
    {"op": "drain", "id"}      answer when the container's output has been read to its end
    {"op": "drop", "id"}       forget it
    {"op": "keep", "ids"}      forget all others: a shim that was killed dropped them no more
    {"op": "stop"}             end: the node goes for good
    {"op": "attach", "id"}     answered {"ok": true}; then the connection carries frames
Frames: channel (1 byte), length (4 bytes, big-endian), bytes. Out: 1 stdout, 2 stderr; in: 0 stdin
(no bytes: end of input), 4 a terminal's size as JSON.
"""

import json
import os
import resource
import selectors
import socket
import sys
from collections.abc import Callable, Iterable
from time import monotonic  # noqa: TID251  no Clock in a program this small
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from runtime_shim.log_streams import FRAME, READ_BYTES, RESIZE, STDIN, Container

MAX_BUFFERED_BYTES = 4 << 20
"""A client of attach that falls this far behind is cut off; a container never waits for one."""
IDLE_EXIT_S = 30.0


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
        self.stopping = False
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
        name, op = asked.get("id", ""), asked["op"]
        if op == "add":
            if name not in self.containers:
                self.containers[name] = Container(self, asked)
        elif op == "drop":
            self._keep(self.containers.keys() - {name})
        elif op == "keep":
            self._keep(asked["ids"])
        elif op == "drain":
            self.containers[name].drain(client)
            return  # which answers when the output has ended
        elif op == "reopen":
            self.containers[name].reopen()
        elif op == "attach":
            self._attach(client, self.containers[name])
            return
        elif op == "stop":
            self.stopping = True
        else:
            client.answer({"ok": False, "error": f"unknown operation {op!r}"})
            return
        client.answer({"ok": True})

    def _keep(self, names: Iterable[str]) -> None:
        for gone in self.containers.keys() - set(names):
            self.containers.pop(gone).close()

    def _attach(self, client: Client, container: Container) -> None:
        client.attached = container
        container.clients.add(client)
        client.answer({"ok": True})
        if not container.sources and container.console is None:
            client.finish()

    def run(self) -> None:
        idle_since = monotonic()
        while not self.stopping:
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


def _allow_many_files() -> None:
    """Each container takes three."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    _allow_many_files()
    Daemon(sys.argv[1]).run()
