"""exec and attach: a Process on one side, a client on the other, five channels between them.

    stdin 0 →  ← stdout 1  ← stderr 2  ← error 3 (a Status at the end)  resize 4 →  close 255 →

Over WebSocket each binary message begins with its channel's number; `close` (v5) names the
channel that its sender will not write any more. The base64 protocols have text messages instead:
the number as a digit, then the data. Over SPDY each channel is a stream of its own.

Source: k8s.io/apimachinery pkg/util/{remotecommand,httpstream/wsstream},
k8s.io/kubelet pkg/cri/streaming/remotecommand.
"""

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import orjson

from podpath.component_base.streaming.process import Process, TerminalSize
from podpath.component_base.streaming.websocket import CLOSE_NORMAL, WebSocket, WebSocketError

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
WEBSOCKET_PROTOCOLS = (
    V5,
    V4,
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
)
"""Newest first; "" is spoken with clients that name none, and is `channel.k8s.io`. From v4 on the
error channel carries a Status, before that plain text."""


class Channel(IntEnum):
    """The wire's numbers."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255


_FROM_CLIENT = (Channel.STDIN, Channel.RESIZE)


@dataclass(frozen=True, slots=True)
class Input:
    """Something from the client; `data` None ends the channel."""

    channel: Channel
    data: bytes | None


class CommandTransport(Protocol):
    """The client's side of a session."""

    def inputs(self) -> AsyncIterator[Input]:
        """What the client sends; ends when the client is gone."""

    async def send(self, channel: Channel, data: bytes) -> None:
        """Raises: ConnectionError."""

    async def finish(self, status: bytes) -> None:
        """Sends the Status on the error channel and closes all."""


class WebSocketCommand:
    """Channels inside one WebSocket. Those not asked for are silent in both directions."""

    def __init__(self, websocket: WebSocket, asked: Collection[Channel]) -> None:
        self._websocket = websocket
        self._asked = {*asked, Channel.ERROR}
        self._text = "base64" in websocket.protocol
        self._plain_errors = not websocket.protocol.startswith(("v4.", "v5."))

    async def inputs(self) -> AsyncIterator[Input]:
        while (message := await self._websocket.receive()) is not None:
            if not message:
                continue
            number, data = self._opened(message)
            if number == Channel.CLOSE and data:
                if data[0] == Channel.STDIN:
                    yield Input(Channel.STDIN, None)
            elif number in _FROM_CLIENT and number in self._asked:
                yield Input(Channel(number), data)

    def _opened(self, message: bytes) -> tuple[int, bytes]:
        """Channel and data of a message. Raises: WebSocketError."""
        if not self._text:
            return message[0], message[1:]
        try:
            return message[0] - ord("0"), base64.b64decode(message[1:], validate=True)
        except binascii.Error as error:
            raise WebSocketError(f"a message that is not base64: {error}") from None

    async def send(self, channel: Channel, data: bytes) -> None:
        if channel not in self._asked:
            return
        if self._text:
            await self._websocket.send_text(b"%d" % channel + base64.b64encode(data))
        else:
            await self._websocket.send(bytes((channel,)) + data)

    async def finish(self, status: bytes) -> None:
        text = plain_error(status) if self._plain_errors else status
        if text:
            await self.send(Channel.ERROR, text)
        await self._websocket.close(CLOSE_NORMAL)


class _ClientGone(Exception):
    pass


async def serve_process(transport: CommandTransport, process: Process) -> None:
    """Runs one session to its end and closes the process. The last thing sent is its Status."""
    try:
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(_feed(transport, process))
            while (output := await process.read()) is not None:
                await transport.send(Channel(output[0]), output[1])
            status = exit_status(await process.wait())
            feeding.cancel()
        await transport.finish(status)
    except* (_ClientGone, ConnectionError):
        pass
    finally:
        await process.close()


async def _feed(transport: CommandTransport, process: Process) -> None:
    async for item in transport.inputs():
        if item.channel is Channel.RESIZE:
            if size := parse_size(item.data or b""):
                await process.resize(size)
        elif item.data is None:
            await process.close_stdin()
        elif item.data:
            # A process that closed its input does not end the session.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.write(item.data)
    raise _ClientGone


def parse_size(data: bytes) -> TerminalSize | None:
    """`{"Width": 80, "Height": 24}`; None if it is anything else."""
    try:
        tree = orjson.loads(data)
        return TerminalSize(int(tree["Width"]), int(tree["Height"]))
    except (ValueError, KeyError, TypeError):
        return None


def exit_status(code: int) -> bytes:
    """The Status of a command that ended, as JSON."""
    if code == 0:
        return orjson.dumps({"metadata": {}, "status": "Success"})
    return _failure(
        "NonZeroExitCode",
        f"command terminated with non-zero exit code: exit status {code}",
        details={"causes": [{"reason": "ExitCode", "message": str(code)}]},
    )


def plain_error(status: bytes) -> bytes:
    """What protocols before v4 say: nothing on success, else the message."""
    tree = orjson.loads(status)
    return b"" if tree["status"] == "Success" else tree.get("message", "failed").encode()


def error_status(message: str) -> bytes:
    """The Status of a session that failed, as JSON."""
    return _failure("InternalError", message, code=500)


def _failure(reason: str, message: str, **more: Any) -> bytes:
    return orjson.dumps(
        {"metadata": {}, "status": "Failure", "message": message, "reason": reason} | more
    )
