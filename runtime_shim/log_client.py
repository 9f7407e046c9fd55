"""The shim's side of the log daemon: starts it, speaks to it, attaches through it."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from podpath.component_base.streaming.process import Output, TerminalSize
from runtime_shim import log_daemon, log_streams
from runtime_shim.errors import Code, CriError

START_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class LoggedContainer:
    """What the daemon must know of a container."""

    id: str
    directory: Path
    log_path: str = ""
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False


class LogClient:
    """One daemon for one state directory. Calls go over one connection, one after another."""

    def __init__(self, directory: Path, known: Callable[[], list[LoggedContainer]]) -> None:
        """`known`: the containers to read. The daemon is told of them whenever it is connected to,
        and forgets all others."""
        self._directory = directory
        self._known = known
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()
        self._pid = 0
        self._stopped = False

    async def add(self, container: LoggedContainer) -> None:
        """Begins to read. The container's FIFOs exist. Raises: CriError."""
        await self._call(_adding(container))

    async def drop(self, container_id: str) -> None:
        await self._call({"op": "drop", "id": container_id})

    async def reopen(self, container_id: str) -> None:
        """Raises: CriError."""
        await self._call({"op": "reopen", "id": container_id})

    async def drain(self, container_id: str) -> None:
        """Returns when all output of an ended container is in its log, or after some seconds."""
        with contextlib.suppress(CriError):
            reader, writer = await self._connect()
            try:
                await _ask(reader, writer, {"op": "drain", "id": container_id})
            finally:
                writer.close()

    async def attach(self, container: LoggedContainer) -> "AttachedProcess":
        """Raises: CriError."""
        reader, writer = await self._connect()
        try:
            await _ask(reader, writer, {"op": "attach", "id": container.id})
        except BaseException:
            writer.close()
            raise
        return AttachedProcess(reader, writer)

    def close(self) -> None:
        """Lets go of the daemon; it goes on."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def keep(self) -> None:
        """Starts the daemon if there is none, and again whenever it dies, until cancelled or
        stopped."""
        while not self._stopped:
            reader, writer = await self._connect()
            try:
                # A daemon that dies in the middle of this is followed by another one.
                with contextlib.suppress(CriError, ConnectionError):
                    await self._call({"op": "drop", "id": ""})  # tells a new one what there is
                    await reader.read()
            finally:
                writer.close()

    async def stop(self) -> None:
        """Ends the daemon for good, if there is one: it has nothing to read any more."""
        self._stopped = True
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, CriError):
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
            try:
                await _ask(reader, writer, {"op": "stop"})
            finally:
                writer.close()

    async def _call(self, asked: dict[str, Any]) -> None:
        async with self._lock:
            for last_try in (False, True):
                try:
                    if self._streams is None:
                        self._streams = await self._connect()
                        await self._introduce(*self._streams, but=asked["id"])
                    await _ask(*self._streams, asked)
                except (ConnectionError, asyncio.IncompleteReadError) as error:
                    self.close()
                    if last_try:
                        raise CriError(Code.UNAVAILABLE, f"log daemon: {error}") from None
                else:
                    return

    async def _introduce(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, but: str
    ) -> None:
        """Tells what there is to read; of the container `but` the call itself will tell."""
        known = self._known()
        await _ask(reader, writer, {"op": "keep", "ids": [but, *(c.id for c in known)]})
        for container in known:
            if container.id != but:
                with contextlib.suppress(CriError):
                    await _ask(reader, writer, _adding(container))

    @property
    def _socket(self) -> Path:
        return self._directory / "logd.sock"

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        path = self._socket
        try:
            return await asyncio.open_unix_connection(str(path))
        except OSError:
            self._spawn()
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                try:
                    return await asyncio.open_unix_connection(str(path))
                except OSError:
                    await asyncio.sleep(0.01)

    def _spawn(self) -> None:
        """In a session of its own: it outlives this process."""
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, os.WNOHANG)  # the one before, if it is dead
        log = str(self._directory / "logd.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-ISE", log_daemon.__file__, str(self._directory)],
            {"PATH": os.defpath},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )


class AttachedProcess:
    """A `Process` (see streaming/process.py): a container's streams, through the daemon."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> tuple[Output, bytes] | None:
        try:
            head = await self._reader.readexactly(log_streams.FRAME.size)
            channel, length = log_streams.FRAME.unpack(head)
            return Output(channel), await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def write(self, data: bytes) -> None:
        await self._send(log_streams.STDIN, data)

    async def close_stdin(self) -> None:
        await self._send(log_streams.STDIN, b"")

    async def resize(self, size: TerminalSize) -> None:
        tree = {"width": size.width, "height": size.height}
        await self._send(log_streams.RESIZE, orjson.dumps(tree))

    async def wait(self) -> int:
        return 0

    async def close(self) -> None:
        self._writer.close()

    async def _send(self, channel: int, data: bytes) -> None:
        self._writer.write(log_streams.FRAME.pack(channel, len(data)) + data)
        await self._writer.drain()


def _adding(container: LoggedContainer) -> dict[str, Any]:
    return {
        "op": "add",
        "id": container.id,
        "dir": str(container.directory),
        "log": container.log_path,
        "tty": container.tty,
        "stdin": container.stdin,
        "stdin_once": container.stdin_once,
    }


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[str, Any]
) -> None:
    """Raises: CriError, ConnectionError, IncompleteReadError."""
    writer.write(json.dumps(asked).encode() + b"\n")
    await writer.drain()
    async with asyncio.timeout(CALL_TIMEOUT_S):
        line = await reader.readuntil(b"\n")
    answer = orjson.loads(line)
    if not answer["ok"]:
        raise CriError(Code.INTERNAL, f"log daemon: {answer['error']}")
