"""WebSocket (RFC 6455) on asyncio streams, for both sides; no extensions.

Upstream's remotecommand and port-forward use binary messages, but for the base64 subprotocols.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from podpath.component_base.streaming.upgrade import BadRequestError, Connection, UpgradeRequest

MAX_MESSAGE_BYTES = 4 << 20
CLOSE_NORMAL = 1000
CLOSE_PROTOCOL_ERROR = 1002
CLOSE_TOO_BIG = 1009
CLOSE_INTERNAL_ERROR = 1011

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN, _MASKED = 0x80, 0x80


class WebSocketError(ConnectionError):
    """The other side broke the protocol, or is gone."""


@dataclass(frozen=True, slots=True)
class _Frame:
    final: bool
    opcode: int
    payload: bytes


def encode_frame(opcode: int, payload: bytes, mask: bytes = b"") -> bytes:
    """One whole frame. `mask`: 4 bytes from a client, none from a server."""
    length = len(payload)
    flag = _MASKED if mask else 0
    if length < 126:
        head = bytes((_FIN | opcode, flag | length))
    elif length < 65536:
        head = struct.pack(">BBH", _FIN | opcode, flag | 126, length)
    else:
        head = struct.pack(">BBQ", _FIN | opcode, flag | 127, length)
    return head + mask + (apply_mask(payload, mask) if mask else payload)


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """Masks or unmasks: one long integer operation instead of a loop over bytes."""
    length = len(data)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data) ^ int.from_bytes(key)).to_bytes(length)


class WebSocket:
    """An open connection: whole messages in and out. Also a ByteStream (see process.py)."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        client: bool,
        protocol: str,
    ) -> None:
        self.protocol = protocol
        self._reader = reader
        self._writer = writer
        self._client = client
        self._closed = False

    async def receive(self) -> bytes | None:
        """The next message; None after the other side closed. Raises: WebSocketError."""
        parts: list[bytes] = []
        size = 0
        while True:
            frame = await self._read_frame()
            if frame is None:
                return None
            if frame.opcode >= _CLOSE:
                if not await self._control(frame):
                    return None
                continue
            if (frame.opcode == _CONTINUATION) != bool(parts):
                await self.close(CLOSE_PROTOCOL_ERROR)
                raise WebSocketError("fragments out of order")
            parts.append(frame.payload)
            size += len(frame.payload)
            if size > MAX_MESSAGE_BYTES:
                await self.close(CLOSE_TOO_BIG)
                raise WebSocketError("message too big")
            if frame.final:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if not frame.payload:
                parts.append(b"")  # an empty first fragment still opens the message

    async def send(self, message: bytes) -> None:
        """Raises: ConnectionError."""
        await self._write(_BINARY, message)

    async def send_text(self, message: bytes) -> None:
        """Raises: ConnectionError."""
        await self._write(_TEXT, message)

    async def close(self, code: int = CLOSE_NORMAL, reason: str = "") -> None:
        """Says goodbye, once; later calls do nothing."""
        if self._closed:
            return
        self._closed = True
        payload = struct.pack(">H", code) + reason.encode()[:123]
        try:
            self._writer.write(encode_frame(_CLOSE, payload, self._mask()))
            await self._writer.drain()
        except ConnectionError:
            pass
        if self._client:  # a server's connection belongs to whoever accepted it
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    # -- ByteStream ------------------------------------------------------------------------------

    async def read(self) -> bytes:
        while (message := await self.receive()) == b"":
            pass
        return message or b""

    async def write(self, data: bytes) -> None:
        await self.send(data)

    async def close_write(self) -> None:
        """A WebSocket cannot be half closed: what runs inside it has its own way."""

    # -- below -----------------------------------------------------------------------------------

    def _mask(self) -> bytes:
        return os.urandom(4) if self._client else b""

    async def _write(self, opcode: int, payload: bytes) -> None:
        if self._closed:
            raise WebSocketError("closed")
        self._writer.write(encode_frame(opcode, payload, self._mask()))
        await self._writer.drain()

    async def _control(self, frame: _Frame) -> bool:
        """Handles ping, pong and close; False at the end of the connection."""
        if frame.opcode == _PING:
            await self._write(_PONG, frame.payload)
        elif frame.opcode == _CLOSE:
            await self.close(CLOSE_NORMAL)
            return False
        return True

    async def _read_frame(self) -> _Frame | None:
        try:
            first, second = await self._reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", await self._reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", await self._reader.readexactly(8))
            if length > MAX_MESSAGE_BYTES:
                await self.close(CLOSE_TOO_BIG)
                raise WebSocketError(f"a frame of {length} bytes")
            if first & 0x70 or bool(second & _MASKED) == self._client:
                await self.close(CLOSE_PROTOCOL_ERROR)
                raise WebSocketError("reserved bits are set or the masking is wrong")
            mask = b"" if self._client else await self._reader.readexactly(4)
            payload = await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return None
        if mask and payload:
            payload = apply_mask(payload, mask)
        return _Frame(bool(first & _FIN), first & 0x0F, payload)


async def accept_websocket(
    request: UpgradeRequest, connection: Connection, protocols: Sequence[str]
) -> WebSocket:
    """The server's side of the handshake; the first of `protocols` that the client offers wins.

    "" among them stands for a client that offers none. Raises: BadRequestError.
    """
    key = request.headers.get("sec-websocket-key", "")
    if request.method != "GET" or not key:
        raise BadRequestError(400, "not a WebSocket handshake")
    if request.headers.get("sec-websocket-version") != "13":
        raise BadRequestError(426, "WebSocket version 13 is needed")
    offered = request.listed("sec-websocket-protocol")
    chosen = next((p for p in protocols if p in offered), "")
    if not chosen and (offered or "" not in protocols):
        raise BadRequestError(400, f"none of the subprotocols {offered} is served: {protocols}")
    headers = {"Upgrade": "websocket", "Sec-WebSocket-Accept": _accept_key(key)}
    if chosen:
        headers["Sec-WebSocket-Protocol"] = chosen
    await connection.switch(headers)
    return WebSocket(connection.reader, connection.writer, client=False, protocol=chosen)


async def connect_websocket(
    url: str, protocols: Sequence[str], headers: Sequence[tuple[str, str]] = ()
) -> WebSocket:
    """The client's side, over plain TCP. Raises: WebSocketError, OSError."""
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port or 80)
    key = base64.b64encode(os.urandom(16)).decode()
    path = target.path + (f"?{target.query}" if target.query else "")
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {target.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *([f"Sec-WebSocket-Protocol: {', '.join(protocols)}"] if protocols else []),
        *(f"{name}: {value}" for name, value in headers),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *fields = head.split("\r\n")
    answered = {k.strip().lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
    if " 101 " not in status + " " or answered.get("sec-websocket-accept") != _accept_key(key):
        writer.close()
        await writer.wait_closed()
        raise WebSocketError(f"refused: {status}")
    protocol = answered.get("sec-websocket-protocol", "")
    return WebSocket(reader, writer, client=True, protocol=protocol)


def _accept_key(key: str) -> str:
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()
