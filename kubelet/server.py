"""The kubelet's HTTPS server: logs, exec, attach, port-forward, Pods, stats, health.

Only who shows a client certificate of the CA and whom the API server allows gets in; in practice
that is the API server itself.

Source: pkg/kubelet/server/server.go.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import prometheus_client
from aiohttp import web

from kubelet import log_reader
from kubelet.container_streams import ContainerStreams
from kubelet.cri_client import CriError
from kubelet.kubelet import Kubelet
from kubelet.log_reader import LogOptions
from kubelet.pod_list import pod_list_json
from kubelet.runtime_status import RUNNING
from kubelet.server_auth import Authorizer, caller_of
from kubelet.stats_summary import summary
from podpath.api.errors import ApiError
from podpath.component_base.clock import Clock
from podpath.component_base.streaming import tunnel
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PASSED_ON = ("upgrade", "connection", "x-stream-protocol-version")


def tls_context(certificate: str, key: str, client_ca: str) -> ssl.SSLContext:
    """A server that lets in only clients of this CA. Raises: OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class Server:
    """Serves one kubelet."""

    def __init__(self, kubelet: Kubelet, authorizer: Authorizer, clock: Clock) -> None:
        self._kubelet = kubelet
        self._authorizer = authorizer
        self._clock = clock
        self._streams = ContainerStreams(kubelet)

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        routes = application.router
        routes.add_get("/healthz", self._healthz)
        routes.add_get("/pods", self._pods)
        routes.add_get("/runningpods/", self._pods)
        routes.add_get("/metrics", self._metrics)
        routes.add_get("/stats/summary", self._stats)
        routes.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        for method in ("GET", "POST"):
            for command in ("exec", "attach"):
                routes.add_route(
                    method, f"/{command}/{{namespace}}/{{pod}}/{{container}}", self._stream
                )
            routes.add_route(method, "/portForward/{namespace}/{pod}", self._stream)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """1 who is it · 2 may it · 3 what goes wrong becomes a status code and a sentence."""
        # 1
        transport = request.transport
        caller = caller_of(transport.get_extra_info("peercert") if transport is not None else None)
        if caller is None:
            return web.Response(status=401, text="Unauthorized")
        try:
            # 2
            if not await self._authorizer.allows(caller, request.method, request.path):
                text = (
                    f"Forbidden (user={caller.user}, verb={request.method.lower()}, "
                    f"resource=nodes, path={request.path})"
                )
                return web.Response(status=403, text=text)
            # 3
            return await handler(request)
        except ApiError as error:
            return web.Response(status=error.code or 500, text=str(error))
        except CriError as error:
            status = {"NOT_FOUND": 404, "INVALID_ARGUMENT": 400}.get(error.code, 500)
            return web.Response(status=status, text=str(error))

    async def _healthz(self, _: web.Request) -> web.Response:
        problem = self._kubelet.pleg.problem()
        if problem:
            return web.Response(status=500, text=problem)
        return web.Response(text="ok")

    async def _pods(self, _: web.Request) -> web.Response:
        pods = [self._shown(pod) for pod in self._kubelet.workers.pods()]
        return web.Response(body=pod_list_json(pods), content_type="application/json")

    def _shown(self, pod: core.Pod) -> core.Pod:
        shown = core.Pod()
        shown.CopyFrom(pod)
        shown.status.CopyFrom(self._kubelet.statuses.known(pod))
        return shown

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=prometheus_client.generate_latest(), content_type="text/plain", charset="utf-8"
        )

    async def _stats(self, _: web.Request) -> web.Response:
        stats = await self._kubelet.runtime.ListContainerStats(cri.ListContainerStatsRequest())
        body = summary(self._kubelet.name, stats.stats, self._kubelet.workers.pods())
        return web.Response(body=body, content_type="application/json")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        pod = self._streams.pod(request.match_info["namespace"], request.match_info["pod"])
        try:
            options = log_reader.parse_options(dict(request.query), self._clock.now())
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        previous = request.query.get("previous", "") in ("true", "1")
        name = request.match_info["container"]
        record = self._streams.container_with_log(pod, name, previous=previous)
        uid = pod.metadata.uid

        def is_running() -> bool:
            found = self._kubelet.pleg.get(uid).by_id(record.id)
            return found is not None and found.state == RUNNING

        return await self._send_log(request, record.log_path, options, is_running)

    async def _send_log(
        self,
        request: web.Request,
        path: str,
        options: LogOptions,
        is_running: Callable[[], bool],
    ) -> web.StreamResponse:
        pieces = log_reader.read_log(path, options, self._clock, is_running)
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            async for piece in pieces:
                await response.write(piece)
        except FileNotFoundError:
            # The container has written nothing yet, or its log is collected already.
            log.debug("no log file", extra={"path": path})
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
        await response.write_eof()
        return response

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Asks the runtime for a URL, then passes bytes to and from it."""
        if "upgrade" not in request.headers.get("Connection", "").lower():
            return web.Response(status=400, text="Upgrade request required")
        url = await self._streams.url(request.path, request.match_info, request.query)
        parts = urlsplit(url)
        if parts.hostname is None:
            return web.Response(status=500, text=f"the runtime's streaming URL is no URL: {url!r}")
        try:
            far = await tunnel.connect(parts.hostname, parts.port or 80, None)
        except (OSError, TimeoutError) as error:
            return web.Response(status=502, text=f"the runtime's streaming server: {error}")
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            far.send(_request_head(request, target, parts.netloc))
            head = await far.head()
            if head.status != 101:
                body = await far.rest_of_body(head, log_reader.CHUNK_BYTES)
                return web.Response(status=head.status, body=body)
            return await tunnel.splice(request, far, head)
        except tunnel.BadAnswerError as error:
            return web.Response(status=502, text=f"the runtime's streaming server: {error}")
        finally:
            far.close()


def _request_head(request: web.Request, target: str, host: str) -> bytes:
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {host}"]
    for name, value in request.headers.items():
        lower = name.lower()
        if lower in _PASSED_ON or lower.startswith("sec-websocket-"):
            lines.append(f"{name}: {value}")
    if request.method == "POST":
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


@asynccontextmanager
async def serve(
    application: web.Application, address: str, port: int, tls: ssl.SSLContext
) -> AsyncIterator[int]:
    """Serves while the block runs; yields the port. Raises: OSError."""
    runner = web.AppRunner(
        application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port, ssl_context=tls)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        async with asyncio.timeout(5):
            await runner.cleanup()
