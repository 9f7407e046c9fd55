"""A small HTTP/1.1 server whose every request becomes a two-way byte stream (101 or an error).

aiohttp serves WebSockets but does not let go of a connection for SPDY; a streaming server needs
nothing of HTTP but the head of one request.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

_log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 10.0
_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    101: "Switching Protocols",
}


class BadRequestError(Exception):
    """What cannot be served, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """The head of a request. Header names are in lower case; repeated headers are joined by ","."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]

    def wants(self, protocol: str) -> bool:
        """True if the request asks to be upgraded to `protocol` ("websocket", "spdy/3.1")."""
        asked = self.headers.get("upgrade", "").lower()
        return protocol in asked and "upgrade" in self.headers.get("connection", "").lower()

    def listed(self, header: str) -> list[str]:
        """The comma-separated values of a header."""
        return [v.strip() for v in self.headers.get(header, "").split(",") if v.strip()]


@dataclass(frozen=True, slots=True)
class Connection:
    """One accepted connection, after its request's head was read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def switch(self, headers: Mapping[str, str]) -> None:
        """Answers 101; from here on the bytes belong to the new protocol."""
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        await self.writer.drain()


Handler = Callable[[UpgradeRequest, Connection], Awaitable[None]]


@asynccontextmanager
async def serve_upgrades(handler: Handler, host: str, port: int) -> AsyncIterator[int]:
    """Serves while the block runs; yields the port. Open sessions end with the block.

    `handler` raises BadRequestError before it switches; after that its failures end the session.
    """
    sessions: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        sessions.add(task)
        try:
            await _serve_one(handler, Connection(reader, writer))
        except asyncio.CancelledError:
            pass  # the block ended; asyncio's server would log the cancellation as an error
        finally:
            sessions.discard(task)

    server = await asyncio.start_server(accept, host, port, limit=MAX_HEAD_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(sessions):
            task.cancel()
        if sessions:
            await asyncio.wait(list(sessions))
        await server.wait_closed()


async def _serve_one(handler: Handler, connection: Connection) -> None:
    try:
        try:
            request = await _read_head(connection.reader)
            await handler(request, connection)
        except BadRequestError as error:
            await _refuse(connection.writer, error)
    except (ConnectionError, EOFError, TimeoutError):
        pass  # the other side is gone
    except ExceptionGroup as group:
        _, serious = group.split((ConnectionError, EOFError, TimeoutError))
        if serious:
            _log.error("a streaming session failed", exc_info=serious)
    except Exception:
        _log.exception("a streaming session failed")
    finally:
        connection.writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await connection.writer.wait_closed()


async def _read_head(reader: asyncio.StreamReader) -> UpgradeRequest:
    try:
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        raise BadRequestError(408, "the request's head did not arrive in time") from None
    except asyncio.LimitOverrunError:
        raise BadRequestError(431, "the request's head is too large") from None
    return parse_head(head)


def parse_head(head: bytes) -> UpgradeRequest:
    """Raises: BadRequestError."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError(400, "not an HTTP/1.1 request")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise BadRequestError(400, "malformed header")
        key = name.strip().lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    target = urlsplit(words[1])
    return UpgradeRequest(words[0], target.path, parse_qs(target.query), headers)


async def _refuse(writer: asyncio.StreamWriter, error: BadRequestError) -> None:
    body = error.message.encode() + b"\n"
    reason = _REASONS.get(error.status, "Error")
    head = (
        f"HTTP/1.1 {error.status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
