"""WebSocket and SPDY: bytes in and out, and whole sessions over a pair of streams."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpath.component_base.streaming import portforward, spdy, websocket
from podpath.component_base.streaming.process import Output, TerminalSize
from podpath.component_base.streaming.remotecommand import exit_status, parse_size
from podpath.component_base.streaming.spdy_frames import (
    DICTIONARY,
    HEAD_BYTES,
    SYN_STREAM,
    Control,
    Data,
    FrameCodec,
    SpdyError,
)
from podpath.component_base.streaming.upgrade import BadRequestError, parse_head


class Pipe:
    """One end of a ByteStream in memory."""

    def __init__(self, inbox: "asyncio.Queue[bytes]", outbox: "asyncio.Queue[bytes]") -> None:
        self._inbox, self._outbox = inbox, outbox

    async def read(self) -> bytes:
        return await self._inbox.get()

    async def write(self, data: bytes) -> None:
        if data:
            await self._outbox.put(data)

    async def close_write(self) -> None:
        await self._outbox.put(b"")

    async def close(self) -> None:
        await self._outbox.put(b"")


def pipe() -> tuple[Pipe, Pipe]:
    one: asyncio.Queue[bytes] = asyncio.Queue()
    other: asyncio.Queue[bytes] = asyncio.Queue()
    return Pipe(one, other), Pipe(other, one)


@asynccontextmanager
async def sessions() -> AsyncIterator[tuple[spdy.SpdySession, spdy.SpdySession]]:
    near, far = pipe()
    client, server = spdy.SpdySession(near, client=True), spdy.SpdySession(far)
    running = [asyncio.ensure_future(s.run()) for s in (client, server)]
    try:
        yield client, server
    finally:
        for task in running:
            task.cancel()


def test_the_dictionary_is_spdys() -> None:
    # zlib names a dictionary by its checksum; this is the one that SPDY/3's peers ask for.
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_twice_is_nothing(data: bytes, mask: bytes) -> None:
    masked = websocket.apply_mask(data, mask)
    assert masked == bytes(b ^ mask[i % 4] for i, b in enumerate(data))
    assert websocket.apply_mask(masked, mask) == data


async def read_messages(wire: bytes, *, client: bool) -> list[bytes | None]:
    reader = asyncio.StreamReader()
    reader.feed_data(wire)
    reader.feed_eof()

    class Writer:
        def write(self, data: bytes) -> None: ...

        async def drain(self) -> None: ...

    end = websocket.WebSocket(reader, Writer(), client=client, protocol="")  # type: ignore[arg-type]
    messages = []
    while (message := await end.receive()) is not None:
        messages.append(message)
    return messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
async def test_messages_of_every_length_arrive(size: int) -> None:
    payload = b"x" * size
    assert await read_messages(websocket.encode_frame(2, payload), client=True) == [payload]
    masked = websocket.encode_frame(2, payload, b"abcd")
    assert await read_messages(masked, client=False) == [payload]


async def test_fragments_and_pings_between_them() -> None:
    def frame(first: int, payload: bytes) -> bytes:
        whole = bytearray(websocket.encode_frame(2, payload, b"wxyz"))
        whole[0] = first
        return bytes(whole)

    wire = frame(0x02, b"he") + frame(0x89, b"ping") + frame(0x80, b"llo")
    assert await read_messages(wire, client=False) == [b"hello"]


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(websocket.encode_frame(2, b"unmasked"), id="not masked"),
        pytest.param(b"\x80\x80abcd", id="continues nothing"),
        pytest.param(b"\xf2\x80abcd", id="reserved bits"),
        pytest.param(b"\x82\xff" + b"\x7f" * 8 + b"abcd", id="enormous"),
    ],
)
async def test_broken_frames_are_refused(wire: bytes) -> None:
    with pytest.raises(websocket.WebSocketError):
        await read_messages(wire, client=False)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), st.text(max_size=50), max_size=8
    ).filter(lambda headers: not any("\0" in v for v in headers.values())),
    st.binary(max_size=500),
)
def test_spdy_frames_come_back(headers: dict[str, str], payload: bytes) -> None:
    sender, receiver = FrameCodec(), FrameCodec()
    sent = [Control(SYN_STREAM, 1, headers=headers), Data(1, payload, fin=True)] * 2
    for frame in sent:
        wire = sender.encode(frame)
        head, body = wire[:HEAD_BYTES], wire[HEAD_BYTES:]
        assert receiver.body_length(head) == len(body)
        assert receiver.decode(head, body) == frame


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=64))
def test_no_frame_breaks_the_codec(head: bytes, body: bytes) -> None:
    with suppress(SpdyError):
        FrameCodec().decode(head, body)


async def test_streams_of_a_session_are_independent() -> None:
    async with sessions() as (client, server):
        first = await client.open({"name": "first"})
        second = await client.open({"name": "second"})
        await second.write(b"2" * 100_000)
        await second.close_write()
        await first.write(b"1")
        one, two = await server.accept(), await server.accept()
        assert one is not None
        assert two is not None
        assert (one.headers["name"], two.headers["name"]) == ("first", "second")
        received = b""
        while chunk := await two.read():
            received += chunk
        assert received == b"2" * 100_000
        assert await one.read() == b"1"
        await one.write(b"back")
        assert await first.read() == b"back"
        await one.close_write()
        assert await first.read() == b""


async def test_a_finished_stream_is_forgotten() -> None:
    async with sessions() as (client, server):
        for _ in range(5):
            stream = await client.open({})
            await stream.close_write()
            other = await server.accept()
            assert other is not None
            assert await other.read() == b""
            await other.close_write()
            assert await stream.read() == b""
        assert not client._streams
        assert not server._streams


async def test_port_forward_copies_both_ways_and_tells_errors() -> None:
    async with sessions() as (client, server):
        inside, outside = pipe()

        async def connect(port: int) -> Pipe:
            if port != 80:
                raise OSError(111, "Connection refused")
            return inside

        serving = asyncio.ensure_future(portforward.serve_port_forward(server, connect))
        good = [await client.open(_pair("error", 80, 0)), await client.open(_pair("data", 80, 0))]
        bad = [await client.open(_pair("error", 81, 1)), await client.open(_pair("data", 81, 1))]
        await good[1].write(b"question")
        assert await outside.read() == b"question"
        await outside.write(b"answer")
        assert await good[1].read() == b"answer"
        assert b"port 81: Connection refused" in await bad[0].read()
        await outside.close_write()
        assert await good[1].read() == b""
        serving.cancel()


def _pair(kind: str, port: int, request: int) -> dict[str, str]:
    return {"streamtype": kind, "port": str(port), "requestid": str(request)}


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b'{"Width": 80, "Height": 24}', TerminalSize(80, 24)),
        (b"{}", None),
        (b"[1]", None),
        (b"\xff", None),
    ],
)
def test_terminal_sizes(data: bytes, size: TerminalSize | None) -> None:
    assert parse_size(data) == size


def test_exit_codes_are_told_as_kubectl_reads_them() -> None:
    assert b'"status":"Success"' in exit_status(0)
    assert b'{"reason":"ExitCode","message":"3"}' in exit_status(3)


@pytest.mark.parametrize(
    "head", [b"\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET / HTTP/1.1\r\nx\r\n\r\n"]
)
def test_malformed_requests(head: bytes) -> None:
    with pytest.raises(BadRequestError) as raised:
        parse_head(head)
    assert raised.value.status == 400


def test_output_numbers_are_the_channels() -> None:
    assert (Output.STDOUT, Output.STDERR) == (1, 2)
