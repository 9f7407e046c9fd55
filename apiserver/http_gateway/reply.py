"""A whole HTTP response that is written with one call.

aiohttp's own Response builds a case-insensitive header map, a payload and two writes for each
answer; this one joins bytes. It says nothing about the server's software.
"""

import asyncio
import gzip
from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

GZIP_THRESHOLD_BYTES = 128 * 1024
"""Upstream compresses larger bodies only (endpoints/handlers/responsewriters/writers.go)."""

_GZIP_LEVEL = 1
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
_BODILESS = frozenset({204, 304})

Header = tuple[str, str]


class Reply(web.StreamResponse):
    """Status, headers and body, complete. `headers` holds no CR or LF: see `clean`."""

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Iterable[Header] = (),
        *,
        close: bool = False,
    ) -> None:
        # Deliberately without super().__init__(): none of what it sets up is used.
        self._status = status
        self._reason = ""
        self._keep_alive = None
        self._bytes = body
        self._content_type = content_type
        self._extra = list(headers)
        self._close_after = close

    def __repr__(self) -> str:
        return f"<Reply {self._status}>"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    @property
    def body(self) -> bytes:
        return self._bytes

    @property
    def extra_headers(self) -> list[Header]:
        return self._extra

    def add_header(self, name: str, value: str) -> None:
        self._extra.append((name, clean(value)))

    def compress(self) -> None:
        """Called when the client takes gzip; small bodies stay as they are."""
        if len(self._bytes) > GZIP_THRESHOLD_BYTES:
            self._bytes = gzip.compress(self._bytes, _GZIP_LEVEL, mtime=0)
            self._extra.append(("Content-Encoding", "gzip"))
            self._extra.append(("Vary", "Accept-Encoding"))

    def head(self, keep_alive: bool) -> bytes:
        lines = [_STATUS_LINES[self._status]]
        lines.extend(f"{name}: {value}\r\n" for name, value in self._extra)
        if self._status not in _BODILESS:
            if self._bytes:
                lines.append(f"Content-Type: {self._content_type}\r\n")
            lines.append(f"Content-Length: {len(self._bytes)}\r\n")
        if not keep_alive:
            lines.append("Connection: close\r\n")
        lines.append(f"Date: {rfc822_formatted_time()}\r\n\r\n")
        return "".join(lines).encode("latin-1", "replace")

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes everything; waits only while the client is slow to read."""
        self._keep_alive = request.keep_alive and not self._close_after
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        head = self.head(self._keep_alive)
        if request.method == "HEAD" or self._status in _BODILESS:
            transport.write(head)
        else:
            transport.write(head + self._bytes)
        await request.protocol._drain_helper()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def clean(value: str) -> str:
    """A header's value on one line."""
    return value.replace("\r", " ").replace("\n", " ")


class ChunkedReply(web.StreamResponse):
    """A response of unknown length: `prepare` sends the headers, `write` a chunk at once."""

    def __init__(
        self, content_type: str, headers: Iterable[Header] = (), status: int = 200
    ) -> None:
        # As in Reply, nothing of super().__init__() is used.
        self._status = status
        self._reason = ""
        self._keep_alive = None
        self._content_type = content_type
        self._extra = list(headers)
        self._request: web.BaseRequest | None = None
        self._ended = False

    def __repr__(self) -> str:
        return f"<ChunkedReply {self._status}>"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    @property
    def started(self) -> bool:
        return self._request is not None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._request is not None:
            return None
        self._request = request
        self._keep_alive = request.keep_alive
        lines = [_STATUS_LINES[self._status]]
        lines.extend(f"{name}: {value}\r\n" for name, value in self._extra)
        lines.append(f"Content-Type: {self._content_type}\r\n")
        lines.append("Transfer-Encoding: chunked\r\n")
        lines.append(f"Date: {rfc822_formatted_time()}\r\n\r\n")
        self._transport().write("".join(lines).encode("latin-1", "replace"))
        return None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends one chunk; waits only while the client is slow to read."""
        if not data or self._request is None:
            return
        self._transport().write(b"".join((b"%x\r\n" % len(data), data, b"\r\n")))
        await self._request.protocol._drain_helper()

    async def write_eof(self, data: bytes = b"") -> None:
        if self._ended or self._request is None:
            return
        self._ended = True
        self._transport().write(b"0\r\n\r\n")

    def _transport(self) -> asyncio.Transport:
        transport = self._request.transport if self._request is not None else None
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        return transport
