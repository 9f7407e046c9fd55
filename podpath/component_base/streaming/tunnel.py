"""Passing an upgraded connection through: bytes from either side go to the other, as they come.

What runs inside (WebSocket, SPDY) is between the client and the far side.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

HEAD_BYTES_MAX = 64 * 1024
ANSWER_TIMEOUT_S = 30.0
"""How long the other side may take to accept a connection and to answer the request."""

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    """A response's first part. `rest` is what came behind it."""

    status: int
    raw: bytes
    rest: bytes

    def header(self, name: str) -> str:
        wanted = name.lower()
        for line in self.raw.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() == wanted:
                return value.strip()
        return ""


class BadAnswerError(ConnectionError):
    """The other side did not answer with HTTP."""


class Half(asyncio.Protocol):
    """One side of a tunnel. Until `join` it collects what arrives."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived: asyncio.Event = asyncio.Event()
        self._received = bytearray()
        self._ended = False
        self._peer: Half | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.send(data)
        else:
            self._received += data
            self._arrived.set()

    def eof_received(self) -> bool:
        """Half close: the other direction stays open where the transports can."""
        self._ended = True
        self._arrived.set()
        if self._peer is None or self.transport is None:
            return False
        passed_on = self._peer.send_eof()
        return passed_on and self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._arrived.set()
        if not self.closed.done():
            self.closed.set_result(None)
        if self._peer is not None:
            self._peer.close()

    def pause_writing(self) -> None:
        self._set_peer_reading(False)

    def resume_writing(self) -> None:
        self._set_peer_reading(True)

    def _set_peer_reading(self, reading: bool) -> None:
        peer = self._peer
        if peer is None or peer.transport is None or peer.transport.is_closing():
            return
        if reading:
            peer.transport.resume_reading()
        else:
            peer.transport.pause_reading()

    def send(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def send_eof(self) -> bool:
        """False when this side cannot be half closed (TLS): both directions end."""
        transport = self.transport
        if transport is None or transport.is_closing() or not transport.can_write_eof():
            return False
        transport.write_eof()
        return True

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    async def head(self) -> Head:
        """Waits for a response's head. Raises: BadAnswerError."""
        while (end := self._received.find(_END_OF_HEAD)) < 0:
            if self._ended or len(self._received) > HEAD_BYTES_MAX:
                raise BadAnswerError("no HTTP response")
            self._arrived.clear()
            await self._arrived.wait()
        raw = bytes(self._received[: end + len(_END_OF_HEAD)])
        rest = bytes(self._received[len(raw) :])
        try:
            status = int(raw.split(b" ", 2)[1])
        except (IndexError, ValueError):
            raise BadAnswerError("no HTTP response") from None
        return Head(status, raw, rest)

    async def rest_of_body(self, head: Head, limit: int) -> bytes:
        """The body behind a head, to its end or to `limit`."""
        length = head.header("Content-Length")
        wanted = min(int(length), limit) if length.isdigit() else limit
        start = len(head.raw)
        while len(self._received) - start < wanted and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        body = bytes(self._received[start : start + wanted])
        if head.header("Transfer-Encoding").lower() == "chunked":
            return _first_chunks(body)
        return body

    def join(self, peer: "Half") -> None:
        """From now on, what arrives goes to `peer`."""
        self._peer = peer


def _first_chunks(data: bytes) -> bytes:
    out = bytearray()
    while data:
        size_text, _, data = data.partition(b"\r\n")
        try:
            size = int(size_text.split(b";")[0], 16)
        except ValueError:
            break
        if size == 0:
            break
        out += data[:size]
        data = data[size + 2 :]
    return bytes(out)


async def connect(host: str, port: int, tls: ssl.SSLContext | None) -> Half:
    """Raises: OSError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        _, half = await loop.create_connection(Half, host, port, ssl=tls)
    return half


class Tunnelled(web.StreamResponse):
    """Stands for a response that was sent already."""

    def __init__(self) -> None:
        self._status = 101
        self._reason = ""
        self._keep_alive = False

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class _ClientHalf(Half):
    """The client's side: takes the connection over from aiohttp, which is told of its end."""

    def __init__(self, transport: asyncio.Transport, owner: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.transport = transport
        self._owner = owner

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._owner.connection_lost(exc)


async def splice(request: web.BaseRequest, far: Half, head: Head) -> Tunnelled:
    """Sends the far side's 101 and copies both ways until one side is gone."""
    transport = request.transport
    if transport is None:
        far.close()
        raise ConnectionResetError("the client has gone")
    near = _ClientHalf(transport, request.protocol)
    transport.set_protocol(near)
    near.join(far)
    far.join(near)
    transport.write(head.raw + head.rest)
    try:
        await asyncio.wait((near.closed, far.closed), return_when=asyncio.FIRST_COMPLETED)
    finally:
        far.close()
        near.close()
    return Tunnelled()
