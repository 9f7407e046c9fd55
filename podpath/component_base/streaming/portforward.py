"""port-forward: pairs of SPDY streams, each pair one TCP connection into the Pod.

A pair shares the header `requestid`; `streamtype` tells `data` from `error`, `port` names the port.
An error is told as text on the error stream; the session and the other pairs go on.
Source: k8s.io/kubelet pkg/cri/streaming/portforward/httpstream.go.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from podpath.component_base.streaming.process import ByteStream
from podpath.component_base.streaming.spdy import SpdySession, SpdyStream

PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
MAX_UNPAIRED = 64

Connect = Callable[[int], Awaitable[ByteStream]]


async def serve_port_forward(session: SpdySession, connect: Connect) -> None:
    """Serves until the client leaves. `connect` raises OSError with what went wrong."""
    waiting: dict[str, SpdyStream] = {}
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(session.run())
        pairs: set[asyncio.Task[None]] = set()
        try:
            while (stream := await session.accept()) is not None:
                # Old clients send no id: their error stream comes right before its data stream.
                request = stream.headers.get("requestid") or _implied_id(stream)
                other = waiting.pop(request, None)
                if other is None:
                    waiting[request] = stream
                    if len(waiting) > MAX_UNPAIRED:
                        await waiting.pop(next(iter(waiting))).reset()
                    continue
                data, error = _sorted(stream, other)
                pair = tasks.create_task(_serve_pair(data, error, connect))
                pairs.add(pair)
                pair.add_done_callback(pairs.discard)
        finally:
            for pair in list(pairs):
                pair.cancel()
            reading.cancel()


def _implied_id(stream: SpdyStream) -> str:
    number = stream.number if stream.headers.get("streamtype") == "error" else stream.number - 2
    return f"#{number}"


def _sorted(one: SpdyStream, other: SpdyStream) -> tuple[SpdyStream, SpdyStream]:
    return (one, other) if one.headers.get("streamtype") == "data" else (other, one)


async def _serve_pair(data: SpdyStream, error: SpdyStream, connect: Connect) -> None:
    try:
        problem = await _forward(data, connect)
        if problem:
            await error.write(problem.encode())
    except ConnectionError:
        pass
    finally:
        for stream in (data, error):
            with contextlib.suppress(ConnectionError):
                await stream.close_write()


async def _forward(data: SpdyStream, connect: Connect) -> str:
    """Copies until both directions ended; what went wrong, or ""."""
    port = data.headers.get("port", "")
    if not port.isdigit() or not 0 < int(port) <= 65535:
        return f"invalid port {port!r}"
    try:
        inside = await connect(int(port))
    except OSError as failure:
        return f"error forwarding port {port}: {failure.strerror or failure}"
    try:
        async with asyncio.TaskGroup() as copies:
            copies.create_task(copy_stream(data, inside))
            copies.create_task(copy_stream(inside, data))
    except* ConnectionError:
        pass
    finally:
        await inside.close()
    return ""


async def copy_stream(source: ByteStream, target: ByteStream) -> None:
    """Copies to the end of `source` and then ends `target`'s input."""
    while chunk := await source.read():
        await target.write(chunk)
    await target.close_write()
