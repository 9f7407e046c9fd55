"""A SPDY/3.1 session over any byte stream: a TCP connection, or a WebSocket that tunnels one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from podpath.component_base.streaming.process import ByteStream
from podpath.component_base.streaming.spdy_frames import (
    GOAWAY,
    HEAD_BYTES,
    HEADERS,
    MAX_FRAME_BYTES,
    PING,
    RST_STREAM,
    SYN_REPLY,
    SYN_STREAM,
    Control,
    Data,
    Frame,
    FrameCodec,
    SpdyError,
)

PROTOCOL = "SPDY/3.1"
MAX_STREAMS = 1000
STREAM_BUFFER_BYTES = 4 << 20
"""Kubernetes' side has no flow control: a stream that is not read stops the session's reading."""
CHUNK_BYTES = 64 * 1024
_STATUS_INVALID_STREAM, _STATUS_REFUSED, _STATUS_CANCEL = 2, 3, 5


class TcpStream:
    """An asyncio connection as a ByteStream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(CHUNK_BYTES)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close_write(self) -> None:
        with contextlib.suppress(OSError):
            if self._writer.can_write_eof():
                self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class SpdyStream:
    """One stream of a session, a ByteStream with headers. Each direction ends on its own."""

    def __init__(self, session: "SpdySession", number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._finished = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def read(self) -> bytes:
        while not self._chunks:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._room.set()
        return data

    async def write(self, data: bytes) -> None:
        """Raises: ConnectionError."""
        if self._finished:
            raise SpdyError(f"stream {self.number} was closed")
        for at in range(0, len(data), CHUNK_BYTES):
            await self._session.send(Data(self.number, data[at : at + CHUNK_BYTES], fin=False))

    async def close_write(self) -> None:
        if not self._finished:
            self._finished = True
            await self._session.send(Data(self.number, b"", fin=True))
            self._session.forget_if_done(self)

    async def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self.close_write()

    async def reset(self) -> None:
        """Ends both directions at once."""
        self.end()
        if not self._finished:
            self._finished = True
            await self._session.send(Control(RST_STREAM, self.number, number=_STATUS_CANCEL))
        self._session.forget_if_done(self)

    @property
    def done(self) -> bool:
        return self._ended and self._finished

    # -- by the session --------------------------------------------------------------------------

    async def feed(self, data: bytes) -> None:
        if not data or self._ended:
            return
        self._chunks.append(data)
        self._size += len(data)
        self._changed.set()
        if self._size > STREAM_BUFFER_BYTES:
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        self._ended = True
        self._changed.set()
        self._room.set()


class SpdySession:
    """The server's or the client's end. `run` reads frames; streams that the other side opens
    come out of `accept`."""

    def __init__(self, transport: ByteStream, *, client: bool = False) -> None:
        self._transport = transport
        self._codec = FrameCodec()
        self._streams: dict[int, SpdyStream] = {}
        self._opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._next_number = 1 if client else 2
        self._parity = 0 if client else 1
        self._last_good = 0
        self._lock = asyncio.Lock()
        self._over = False

    async def run(self) -> None:
        """Reads until the other side is gone; then every stream ends."""
        try:
            async for frame in self._frames():
                await self._handle(frame)
        except ConnectionError:
            pass
        finally:
            self._over = True
            for stream in list(self._streams.values()):
                stream.end()
            self._opened.put_nowait(None)

    async def accept(self) -> SpdyStream | None:
        """The next stream that the other side opened; None when the session is over."""
        if self._over and self._opened.empty():
            return None
        return await self._opened.get()

    async def open(self, headers: Mapping[str, str]) -> SpdyStream:
        """Opens a stream. Raises: ConnectionError."""
        number = self._next_number
        self._next_number += 2
        stream = self._streams[number] = SpdyStream(self, number, headers)
        await self.send(Control(SYN_STREAM, number, headers=headers))
        return stream

    async def send(self, frame: Frame) -> None:
        """Frames go out whole and, because of the compression, in the order they are encoded."""
        async with self._lock:
            await self._transport.write(self._codec.encode(frame))

    async def close(self) -> None:
        """Says goodbye and closes the connection."""
        with contextlib.suppress(ConnectionError):
            await self.send(Control(GOAWAY, self._last_good))
        await self._transport.close()

    def forget_if_done(self, stream: SpdyStream) -> None:
        if stream.done:
            self._streams.pop(stream.number, None)

    async def _frames(self) -> AsyncIterator[Frame]:
        buffer = bytearray()
        while data := await self._transport.read():
            buffer += data
            while len(buffer) >= HEAD_BYTES:
                head = bytes(buffer[:HEAD_BYTES])
                end = HEAD_BYTES + self._codec.body_length(head)
                if end > MAX_FRAME_BYTES:
                    raise SpdyError("a frame too large")
                if len(buffer) < end:
                    break
                body = bytes(buffer[HEAD_BYTES:end])
                del buffer[:end]
                if frame := self._codec.decode(head, body):
                    yield frame

    async def _handle(self, frame: Frame) -> None:
        if isinstance(frame, Data):
            await self._data(frame)
        elif frame.kind == SYN_STREAM:
            await self._opened_by_peer(frame)
        elif frame.kind == PING:
            if frame.number % 2 == self._parity:  # theirs; ours would be an answer
                await self.send(Control(PING, number=frame.number))
        elif frame.kind == RST_STREAM:
            if stream := self._streams.pop(frame.stream, None):
                stream.end()
        elif frame.kind in (SYN_REPLY, HEADERS):
            if (stream := self._streams.get(frame.stream)) and frame.fin:
                stream.end()
                self.forget_if_done(stream)
        elif frame.kind == GOAWAY:
            self._over = True

    async def _data(self, frame: Data) -> None:
        stream = self._streams.get(frame.stream)
        if stream is None:
            return  # it was closed here while this frame was on its way
        await stream.feed(frame.payload)
        if frame.fin:
            stream.end()
            self.forget_if_done(stream)

    async def _opened_by_peer(self, frame: Control) -> None:
        number = frame.stream
        if number % 2 != self._parity or number <= self._last_good:
            await self.send(Control(RST_STREAM, number, number=_STATUS_INVALID_STREAM))
            return
        if len(self._streams) >= MAX_STREAMS:
            await self.send(Control(RST_STREAM, number, number=_STATUS_REFUSED))
            return
        self._last_good = number
        stream = self._streams[number] = SpdyStream(self, number, frame.headers)
        await self.send(Control(SYN_REPLY, number))
        if frame.fin:
            stream.end()
        self._opened.put_nowait(stream)
