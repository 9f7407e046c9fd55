"""exec and attach over SPDY: one stream for each channel, told apart by the header `streamtype`."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from podpath.component_base.streaming.remotecommand import V4, Channel, Input, plain_error
from podpath.component_base.streaming.spdy import SpdySession, SpdyStream

PROTOCOLS = (V4, "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
"""Newest first; from v4 on the error stream carries a Status, before that plain text."""
STREAM_CREATION_TIMEOUT_S = 30.0

_TYPES = {
    "error": Channel.ERROR,
    "stdin": Channel.STDIN,
    "stdout": Channel.STDOUT,
    "stderr": Channel.STDERR,
    "resize": Channel.RESIZE,
}


async def gather_streams(
    session: SpdySession, expected: frozenset[Channel]
) -> Mapping[Channel, SpdyStream]:
    """Waits until the client has opened every expected stream.

    Raises: TimeoutError, ConnectionError.
    """
    streams: dict[Channel, SpdyStream] = {}
    async with asyncio.timeout(STREAM_CREATION_TIMEOUT_S):
        while not expected <= streams.keys():
            stream = await session.accept()
            if stream is None:
                raise ConnectionError("the client left before its streams were open")
            channel = _TYPES.get(stream.headers.get("streamtype", ""))
            if channel is None or channel in streams:
                await stream.reset()
            else:
                streams[channel] = stream
    return streams


class SpdyCommand:
    """A CommandTransport (see remotecommand.py) over an open session."""

    def __init__(
        self, session: SpdySession, streams: Mapping[Channel, SpdyStream], protocol: str
    ) -> None:
        self._session = session
        self._streams = streams
        self._plain_errors = protocol != V4

    async def inputs(self) -> AsyncIterator[Input]:
        """stdin and resize as they come; ends when the client is gone."""
        queue: asyncio.Queue[Input | None] = asyncio.Queue(8)
        channels = [c for c in (Channel.STDIN, Channel.RESIZE) if c in self._streams]
        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(self._read(channel, queue)) for channel in channels]
            readers.append(tasks.create_task(self._watch_session(queue)))
            try:
                while (item := await queue.get()) is not None:
                    yield item
            finally:
                for reader in readers:
                    reader.cancel()

    async def _read(self, channel: Channel, queue: "asyncio.Queue[Input | None]") -> None:
        while data := await self._streams[channel].read():
            await queue.put(Input(channel, data))
        await queue.put(Input(channel, None))

    async def _watch_session(self, queue: "asyncio.Queue[Input | None]") -> None:
        while (stream := await self._session.accept()) is not None:
            await stream.reset()
        await queue.put(None)

    async def send(self, channel: Channel, data: bytes) -> None:
        if stream := self._streams.get(channel):
            await stream.write(data)

    async def finish(self, status: bytes) -> None:
        for channel in (Channel.STDOUT, Channel.STDERR):
            if stream := self._streams.get(channel):
                await stream.close_write()
        error = self._streams[Channel.ERROR]
        text = plain_error(status) if self._plain_errors else status
        if text:
            await error.write(text)
        await error.close_write()


def choose(offered: Sequence[str], served: Sequence[str]) -> str:
    """The newest protocol both know; "" if there is none."""
    return next((p for p in served if p in offered), "")
