"""SPDY/3.1 frames to and from bytes. Pure, but for the two compression contexts it keeps.

    control: 1 | version 3 (15 bits) | type (16) || flags (8) | length (24) || ...
    data:    0 | stream (31)                     || flags (8) | length (24) || ...

Header blocks are zlib streams that last as long as the session, over a dictionary of common words.
Source: the SPDY/3.1 draft; github.com/moby/spdystream is the other side in Kubernetes' tools.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS = 1, 2, 3, 4
PING, GOAWAY, HEADERS, WINDOW_UPDATE = 6, 7, 8, 9
FLAG_FIN = 1
HEAD_BYTES = 8
MAX_FRAME_BYTES = (1 << 24) - 1
MAX_HEADER_BLOCK_BYTES = 1 << 20

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base "
    "content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match if-modified-since "
    "if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status "
)
_TAIL_WORDS = (
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
    "Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 "
    "Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, "
    "Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
    "sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = [*_WORDS.split(), *_TAIL_WORDS]
    return b"".join(struct.pack(">I", len(w)) + w.encode() for w in words) + _TAIL.encode()


DICTIONARY = _dictionary()


class SpdyError(ConnectionError):
    """The other side broke the protocol."""


@dataclass(frozen=True, slots=True)
class Data:
    """A data frame."""

    stream: int
    payload: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Control:
    """A control frame; `number` is a status, a ping's id or a window's growth."""

    kind: int
    stream: int = 0
    fin: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    number: int = 0


Frame = Data | Control


class FrameCodec:
    """Both directions of one session."""

    def __init__(self) -> None:
        self._compress = zlib.compressobj(wbits=15, zdict=DICTIONARY)
        self._decompress = zlib.decompressobj(wbits=15, zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        if isinstance(frame, Data):
            head = struct.pack(">II", frame.stream, len(frame.payload) | _flags(frame.fin))
            return head + frame.payload
        body = self._body(frame)
        kind = 0x8000_0000 | VERSION << 16 | frame.kind
        return struct.pack(">II", kind, len(body) | _flags(frame.fin)) + body

    def _body(self, frame: Control) -> bytes:
        match frame.kind:
            case 1:  # SYN_STREAM: no associated stream, priority 0
                return struct.pack(">IIH", frame.stream, 0, 0) + self._block(frame.headers)
            case 2 | 8:
                return struct.pack(">I", frame.stream) + self._block(frame.headers)
            case 6:
                return struct.pack(">I", frame.number)
            case _:  # RST_STREAM, GOAWAY, WINDOW_UPDATE
                return struct.pack(">II", frame.stream, frame.number)

    @staticmethod
    def body_length(head: bytes) -> int:
        """How many bytes follow the 8 of `head`."""
        return int.from_bytes(head[5:8])

    def decode(self, head: bytes, body: bytes) -> Frame | None:
        """One frame; None for kinds that need no attention. Raises: SpdyError."""
        first = int.from_bytes(head[:4])
        fin = bool(head[4] & FLAG_FIN)
        if not first & 0x8000_0000:
            return Data(first, body, fin)
        if first >> 16 & 0x7FFF != VERSION:
            raise SpdyError(f"SPDY version {first >> 16 & 0x7FFF}, not {VERSION}")
        kind = first & 0xFFFF
        try:
            return self._control(kind, body, fin)
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise SpdyError(f"malformed frame of type {kind}: {error}") from None

    def _control(self, kind: int, body: bytes, fin: bool) -> Control | None:
        if kind == SYN_STREAM:
            (stream,) = struct.unpack_from(">I", body)
            return Control(kind, stream & 0x7FFF_FFFF, fin, self._headers(body[10:]))
        if kind in (SYN_REPLY, HEADERS):
            (stream,) = struct.unpack_from(">I", body)
            return Control(kind, stream & 0x7FFF_FFFF, fin, self._headers(body[4:]))
        if kind == PING:
            (number,) = struct.unpack(">I", body)
            return Control(kind, number=number)
        if kind in (RST_STREAM, GOAWAY, WINDOW_UPDATE):
            stream, number = struct.unpack(">II", body)
            return Control(kind, stream & 0x7FFF_FFFF, number=number)
        return None

    def _block(self, headers: Mapping[str, str]) -> bytes:
        plain = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                plain += (struct.pack(">I", len(text)), text)
        block = self._compress.compress(b"".join(plain))
        return block + self._compress.flush(zlib.Z_SYNC_FLUSH)

    def _headers(self, block: bytes) -> dict[str, str]:
        plain = self._decompress.decompress(block, MAX_HEADER_BLOCK_BYTES)
        if self._decompress.unconsumed_tail:
            raise SpdyError("a header block over 1 MiB")
        (count,) = struct.unpack_from(">I", plain)
        at = 4
        headers: dict[str, str] = {}
        for _ in range(count):
            name, at = _text(plain, at)
            value, at = _text(plain, at)
            headers[name] = value.replace("\0", ",")
        return headers


def _flags(fin: bool) -> int:
    return FLAG_FIN << 24 if fin else 0


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise SpdyError("a header is longer than its block")
    return plain[at + 4 : end].decode(), end
