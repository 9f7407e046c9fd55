"""The streaming server: where the URLs of Exec, Attach and PortForward lead.

A URL holds a random token that is good for one use within a minute; behind it stands the request
as the CRI call made it. Whoever has the token has the session, so the server listens on loopback
and the kubelet, which checked who is calling, forwards the bytes.
"""

import asyncio
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from podpath.component_base.streaming import portforward, spdy, spdy_command
from podpath.component_base.streaming.process import ByteStream, Process
from podpath.component_base.streaming.remotecommand import (
    WEBSOCKET_PROTOCOLS,
    Channel,
    CommandTransport,
    WebSocketCommand,
    error_status,
    serve_process,
)
from podpath.component_base.streaming.upgrade import (
    BadRequestError,
    Connection,
    UpgradeRequest,
    serve_upgrades,
)
from podpath.component_base.streaming.websocket import accept_websocket
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError
from runtime_shim.rpc.exec_sync import running_container
from runtime_shim.runtime import Runtime, StreamUrls

TOKEN_LIFETIME_S = 60.0
MAX_TOKENS = 1000
_SPDY = "spdy/3.1"

Asked = cri.ExecRequest | cri.AttachRequest | cri.PortForwardRequest


@dataclass(frozen=True, slots=True)
class _Pending:
    request: Asked
    expires: float


class StreamingServer(StreamUrls):
    """Use as `async with`; see the module's text."""

    def __init__(self, runtime: Runtime, host: str = "127.0.0.1", port: int = 0) -> None:
        self._runtime = runtime
        self._host = host
        self._port = port
        self._pending: dict[str, _Pending] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        server = serve_upgrades(self._serve, self._host, self._port)
        self._port = await self._stack.enter_async_context(server)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def exec_url(self, request: cri.ExecRequest) -> str:
        return self._url("exec", request)

    def attach_url(self, request: cri.AttachRequest) -> str:
        return self._url("attach", request)

    def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        return self._url("portforward", request)

    def _url(self, kind: str, request: Asked) -> str:
        now = self._runtime.clock.monotonic()
        for token in [t for t, p in self._pending.items() if p.expires < now]:
            del self._pending[token]
        if len(self._pending) >= MAX_TOKENS:
            raise CriError(Code.RESOURCE_EXHAUSTED, "too many streaming requests are pending")
        token = secrets.token_urlsafe(24)
        self._pending[token] = _Pending(request, now + TOKEN_LIFETIME_S)
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/{kind}/{token}"

    async def _serve(self, head: UpgradeRequest, connection: Connection) -> None:
        token = head.path.rpartition("/")[2]
        pending = self._pending.get(token)
        if pending is None or pending.expires < self._runtime.clock.monotonic():
            raise BadRequestError(404, "this streaming URL is not known or was used")
        if not head.wants("websocket") and not head.wants(_SPDY):
            raise BadRequestError(400, "an upgrade to websocket or SPDY/3.1 is needed")
        del self._pending[token]
        if isinstance(pending.request, cri.PortForwardRequest):
            await self._port_forward(pending.request, head, connection)
        elif head.wants("websocket"):
            websocket = await accept_websocket(head, connection, WEBSOCKET_PROTOCOLS)
            asked = _channels(pending.request) | {Channel.RESIZE}
            await self._command(pending.request, WebSocketCommand(websocket, asked))
        else:
            await self._spdy_command(pending.request, head, connection)

    # -- exec and attach ---------------------------------------------------------------------------

    async def _command(
        self, request: cri.ExecRequest | cri.AttachRequest, transport: CommandTransport
    ) -> None:
        try:
            process = await self._open(request)
        except CriError as error:
            await transport.finish(error_status(error.message))
            return
        await serve_process(transport, process)

    async def _open(self, request: cri.ExecRequest | cri.AttachRequest) -> Process:
        record = running_container(self._runtime, request.container_id)
        backend = self._runtime.backend(record.handler)
        if isinstance(request, cri.ExecRequest):
            return await backend.exec(
                record, list(request.cmd), tty=request.tty, stdin=request.stdin
            )
        return await backend.attach(record, stdin=request.stdin)

    async def _spdy_command(
        self,
        request: cri.ExecRequest | cri.AttachRequest,
        head: UpgradeRequest,
        connection: Connection,
    ) -> None:
        protocol = await _switch_to_spdy(head, connection, spdy_command.PROTOCOLS)
        expected = _channels(request) | {Channel.ERROR}
        if request.tty and protocol in spdy_command.PROTOCOLS[:2]:
            expected.add(Channel.RESIZE)
        session = spdy.SpdySession(spdy.TcpStream(connection.reader, connection.writer))
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(session.run())
            try:
                streams = await spdy_command.gather_streams(session, frozenset(expected))
                await self._command(request, spdy_command.SpdyCommand(session, streams, protocol))
            finally:
                await session.close()
                reading.cancel()

    # -- port-forward ------------------------------------------------------------------------------

    async def _port_forward(
        self, request: cri.PortForwardRequest, head: UpgradeRequest, connection: Connection
    ) -> None:
        transport: ByteStream
        if head.wants("websocket"):
            transport = await accept_websocket(head, connection, (portforward.TUNNEL_PROTOCOL,))
        else:
            await _switch_to_spdy(head, connection, (portforward.PROTOCOL,))
            transport = spdy.TcpStream(connection.reader, connection.writer)
        session = spdy.SpdySession(transport)

        async def connect(port: int) -> ByteStream:
            try:
                sandbox = self._runtime.state.sandbox(request.pod_sandbox_id)
                return await self._runtime.backend(sandbox.handler).port_forward(sandbox, port)
            except CriError as error:
                raise OSError(error.message) from None

        try:
            await portforward.serve_port_forward(session, connect)
        finally:
            await session.close()


def _channels(request: cri.ExecRequest | cri.AttachRequest) -> set[Channel]:
    """Of the command's own streams, those that were asked for."""
    asked = {
        Channel.STDIN: request.stdin,
        Channel.STDOUT: request.stdout,
        Channel.STDERR: request.stderr,
    }
    return {channel for channel, wanted in asked.items() if wanted}


async def _switch_to_spdy(
    head: UpgradeRequest, connection: Connection, served: tuple[str, ...]
) -> str:
    """Raises: BadRequestError 403, as upstream, if no protocol fits."""
    offered = head.listed("x-stream-protocol-version")
    chosen = spdy_command.choose(offered, served) if offered else served[-1]
    if not chosen:
        raise BadRequestError(403, f"none of {offered} is served: {list(served)}")
    await connection.switch(
        {"Upgrade": spdy.PROTOCOL, "X-Stream-Protocol-Version": chosen if offered else ""}
    )
    return chosen
