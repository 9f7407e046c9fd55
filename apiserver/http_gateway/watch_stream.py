"""A watch as an HTTP response: one chunk for each batch of events.

An event's object is encoded once, on its Version, however many watchers get it; a frame only
joins bytes around it.

Source: k8s.io/apiserver pkg/endpoints/handlers/watch.go.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import orjson
from aiohttp import web

from apiserver.http_gateway import connection
from apiserver.http_gateway.negotiation import JSON, PROTOBUF, TABLE, Output
from apiserver.http_gateway.partial_metadata import partial_json, partial_unknown
from apiserver.http_gateway.reply import ChunkedReply, Header
from apiserver.http_gateway.responses import PROTOBUF_MAGIC, status_bytes
from apiserver.storage.version import INITIAL_EVENTS_END, ObjectVersion
from apiserver.verbs.interface import Version, WatchEvent
from podpath.api.errors import ApiError
from podpath.api.wire import framed, tag
from protos.k8s.meta_v1_pb2 import Status

INITIAL_EVENTS_BLUEPRINT = "kubernetes.io/initial-events-list-blueprint"
EARLY_ERROR_S = 0.02
"""An error that comes within this time is the response; a later one is an ERROR event. Response
headers wait no longer than this for the first event."""

_TYPE_TAG = tag(1, 2)
_OBJECT_TAG = tag(2, 2)
_RAW_TAG = tag(1, 2)

Events = AsyncIterator[Sequence[WatchEvent]]
TableOf = Callable[[Version, bool], dict[str, Any]]
"""Makes a Table of one object; the flag says whether it shows the columns."""


class Framer(Protocol):
    """Turns events into bytes."""

    content_type: str

    def frames(self, events: Sequence[WatchEvent]) -> bytes:
        """All frames of a batch, joined."""

    def error(self, status: Status) -> bytes:
        """An ERROR event."""


class JsonFramer:
    """`{"type":"ADDED","object":{...}}` and a newline."""

    content_type = JSON

    def __init__(self, encode: Callable[[Version], bytes] | None = None) -> None:
        self._encode = encode

    def frames(self, events: Sequence[WatchEvent]) -> bytes:
        parts: list[bytes] = []
        encode = self._encode
        for event in events:
            version = event.version
            encoded = version.json_bytes if encode is None else encode(version)
            parts += (_json_head(event.type), encoded, b"}\n")
        return b"".join(parts)

    def error(self, status: Status) -> bytes:
        return b"".join((_json_head("ERROR"), status_bytes(status, JSON).rstrip(), b"}\n"))


_HEADS = {
    name: f'{{"type":"{name}","object":'.encode()
    for name in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
}


def _json_head(event_type: str) -> bytes:
    return _HEADS[event_type]


class ProtobufFramer:
    """Four bytes of length (big-endian), then a meta/v1 WatchEvent."""

    content_type = f"{PROTOBUF};stream=watch"

    def __init__(self, encode: Callable[[Version], bytes] | None = None) -> None:
        """`encode` gives the bytes of an Unknown, without the magic."""
        self._encode = encode

    def frames(self, events: Sequence[WatchEvent]) -> bytes:
        parts: list[bytes] = []
        encode = self._encode
        for event in events:
            version = event.version
            unknown = version.unknown_bytes if encode is None else encode(version)
            parts += _protobuf_frame(event.type, PROTOBUF_MAGIC + unknown)
        return b"".join(parts)

    def error(self, status: Status) -> bytes:
        return b"".join(_protobuf_frame("ERROR", status_bytes(status, PROTOBUF)))


def _protobuf_frame(event_type: str, encoded: bytes) -> tuple[bytes, bytes, bytes]:
    head = framed(_TYPE_TAG, event_type.encode())
    body = framed(_OBJECT_TAG, framed(_RAW_TAG, encoded))
    return (len(head) + len(body)).to_bytes(4, "big"), head, body


class TableFramer:
    """Each event holds a Table of one row; only the first shows the columns."""

    content_type = JSON

    def __init__(self, table_of: TableOf) -> None:
        self._table_of = table_of
        self._columns_shown = False

    def frames(self, events: Sequence[WatchEvent]) -> bytes:
        parts: list[bytes] = []
        for event in events:
            table = self._table_of(event.version, not self._columns_shown)
            self._columns_shown = True
            parts += (_json_head(event.type), orjson.dumps(table), b"}\n")
        return b"".join(parts)

    def error(self, status: Status) -> bytes:
        return JsonFramer().error(status)


def framer_for(output: Output, table_of: TableOf) -> Framer:
    """The framer of what was negotiated."""
    if output.convert == TABLE:
        return TableFramer(table_of)
    if output.media_type == PROTOBUF:
        return ProtobufFramer(partial_unknown if output.convert else None)
    return JsonFramer(partial_json if output.convert else None)


async def with_list_blueprint(events: Events, encoded_list: bytes) -> Events:
    """The same events; the bookmark that ends the initial ones holds an empty list as the client
    would have got it, so that it can make a list of them.

    Source: k8s.io/apiserver pkg/endpoints/handlers/response.go (watchListTransformer).
    """
    async with aclosing(events) as stream:  # type: ignore[type-var]
        async for batch in stream:
            if batch and batch[-1].type == "BOOKMARK":
                batch = [*batch[:-1], _blueprinted(batch[-1], encoded_list)]
            yield batch


def _blueprinted(event: WatchEvent, encoded_list: bytes) -> WatchEvent:
    version = event.version
    if INITIAL_EVENTS_END not in version.object.metadata.annotations:  # type: ignore[attr-defined]
        return event
    obj: Any = type(version.object)()
    obj.CopyFrom(version.object)
    obj.metadata.annotations[INITIAL_EVENTS_BLUEPRINT] = b64encode(encoded_list).decode()
    return WatchEvent(event.type, ObjectVersion(version.resource, obj))


async def serve(
    request: web.BaseRequest,
    events: Events,
    framer: Framer,
    timeout_s: float,
    headers: Sequence[Header] = (),
) -> web.StreamResponse:
    """Sends events until the watch ends, its time is up or the client goes.

    Raises: ApiError, when the watch fails before the response has begun.
    """
    link = connection.of(request)
    task = asyncio.current_task()
    assert task is not None
    link.on_lost = task.cancel
    response = ChunkedReply(framer.content_type, headers)
    try:
        async with aclosing(events) as stream:  # type: ignore[type-var]
            await _copy(request, response, stream, framer, timeout_s)
    finally:
        link.on_lost = None
    return response


async def _copy(
    request: web.BaseRequest,
    response: ChunkedReply,
    stream: Events,
    framer: Framer,
    timeout_s: float,
) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            first = await _first(request, response, stream, framer)
            if not first:
                return
            await response.write(first)
            async for batch in stream:
                if batch:
                    await response.write(framer.frames(batch))
    except ApiError as error:
        if not response.started:
            if error.reason != "Expired":
                raise
            await response.prepare(request)
        await response.write(framer.error(error.status))
    except TimeoutError:
        if not response.started:
            await response.prepare(request)


async def _first(
    request: web.BaseRequest, response: ChunkedReply, stream: Events, framer: Framer
) -> bytes:
    """Begins the response and waits for the first batch; empty when the watch ends without."""
    waiting = asyncio.ensure_future(_next_batch(stream))
    try:
        await asyncio.wait((waiting,), timeout=EARLY_ERROR_S)
        if not waiting.done() or waiting.exception() is None:
            await response.prepare(request)
        batch = await waiting
    except asyncio.CancelledError:
        waiting.cancel()
        await asyncio.wait((waiting,))
        raise
    return framer.frames(batch) if batch else b""


async def _next_batch(stream: Events) -> Sequence[WatchEvent]:
    """The first batch that is not empty; an empty one at the end."""
    async for batch in stream:
        if batch:
            return batch
    return ()
