"""Logs, exec, attach, port-forward and proxy: the server asks the Pod's kubelet.

`Verbs.connect` authorizes first. Upgraded connections pass through byte by byte.

Source: k8s.io/kubernetes pkg/registry/core/pod/rest/{log,subresources}.go,
pkg/kubelet/client/kubelet_client.go, pkg/registry/core/node/rest/proxy.go.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp import web

from apiserver.authentication.users import LOOPBACK
from apiserver.http_gateway import connection, message_reply, pod_streams
from apiserver.http_gateway.context import Call, Context
from apiserver.http_gateway.message_reply import MessageReply
from apiserver.http_gateway.reply import ChunkedReply, Reply
from apiserver.http_gateway.resource_handlers import method_not_allowed
from apiserver.http_gateway.routes import ResourceRoute
from apiserver.verbs.interface import Target
from podpath.api import errors
from podpath.api.errors import ApiError
from podpath.api.scheme import NODES, PODS, Resource
from podpath.component_base.streaming import tunnel

KUBELET_PORT = 10250
_NODES: Resource[Any] = NODES
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")
_ERROR_BYTES_MAX = 64 * 1024
_CONNECT_TIMEOUT_S = 10.0
_CHUNK_BYTES = 64 * 1024
_PLAIN = {"Accept-Encoding": "identity"}
"""The answer's bytes are passed on, its Content-Encoding is not."""
_PASSED_ON = (
    "connection",
    "upgrade",
    "origin",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "x-stream-protocol-version",
)
_TEXT = "text/plain"


def kubelet_tls(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """Shows the kubelet our certificate and verifies its own by the CA; PEM files, "" for none.

    Without a CA kubelets are not verified, as upstream. Raises: OSError, ssl.SSLError.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not ca:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


@dataclass(frozen=True, slots=True)
class _Endpoint:
    host: str
    port: int

    def url(self, path: str, scheme: str = "https") -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{path}"


class KubeletProxy:
    """Serves the streaming subresources. `tls` as from `kubelet_tls`."""

    scheme = "https"

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls

    async def handle(
        self, context: Context, call: Call, route: ResourceRoute
    ) -> web.StreamResponse:
        """Raises: ApiError."""
        subresource = route.target.subresource
        if subresource == "proxy":
            return await self._proxy(context, call, route)
        pod = await self._authorized(context, call, route.target)
        if subresource == "log":
            if call.method != "GET":
                raise method_not_allowed()
            return await self._log(context, call, pod)
        if call.method not in ("GET", "POST"):
            raise method_not_allowed()
        return await self._stream(context, call, pod, subresource)

    async def _authorized(self, context: Context, call: Call, target: Target) -> Any:
        verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        verb = verbs.get(call.method, "get")
        version = await context.verbs.connect(call.user, target, verb)
        return version.object

    async def _log(self, context: Context, call: Call, pod: Any) -> web.StreamResponse:
        path = pod_streams.log_path(pod, call.query)
        if not pod.spec.nodeName:
            return Reply(200, b"", _TEXT)
        endpoint = await _kubelet_of(context, pod.spec.nodeName)
        return await self._pass_response(call, endpoint.url(path, self.scheme), self._tls, _TEXT)

    async def _pass_response(
        self, call: Call, url: str, tls: ssl.SSLContext | None, content_type: str
    ) -> web.StreamResponse:
        """Streams the answer of a GET to the client; errors become a Status."""
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT_S)
        _cancel_when_gone(call)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
                session.get(url, headers=_PLAIN, ssl=tls if tls is not None else True) as answer,
            ):
                if answer.status > 206:
                    body = await answer.content.read(_ERROR_BYTES_MAX)
                    raise _backend_error(answer.status, body.decode("utf-8", "replace"))
                chunks = answer.content.iter_chunked(_CHUNK_BYTES)
                if message_reply.is_asked_for(call.request):
                    return await _as_messages(call, chunks)
                shown = content_type or answer.headers.get("Content-Type", _TEXT)
                reply = ChunkedReply(shown, [("Audit-Id", call.audit_id)])
                await reply.prepare(call.request)
                async for chunk in chunks:
                    await reply.write(chunk)
                return reply
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unreachable(url, error) from None
        finally:
            connection.of(call.request).on_lost = None

    async def _stream(
        self, context: Context, call: Call, pod: Any, subresource: str
    ) -> web.StreamResponse:
        path = pod_streams.stream_path(pod, subresource, call.query)
        if not call.header("Upgrade"):
            raise errors.bad_request("Upgrade request required")
        endpoint = await _kubelet_of(context, pod.spec.nodeName)
        try:
            kubelet = await tunnel.connect(endpoint.host, endpoint.port, self._tls)
        except (OSError, TimeoutError) as error:
            raise _unreachable(endpoint.url(path), error) from None
        _cancel_when_gone(call)
        try:
            kubelet.send(_upgrade_request(call, endpoint, path))
            async with asyncio.timeout(tunnel.ANSWER_TIMEOUT_S):
                head = await kubelet.head()
            if head.status != 101:
                body = await kubelet.rest_of_body(head, _ERROR_BYTES_MAX)
                raise _backend_error(head.status, body.decode("utf-8", "replace"))
            # From here on the tunnel itself sees the client go.
            connection.of(call.request).on_lost = None
            return await tunnel.splice(call.request, kubelet, head)
        except (tunnel.BadAnswerError, TimeoutError) as error:
            raise _unreachable(endpoint.url(path), error) from None
        finally:
            connection.of(call.request).on_lost = None
            kubelet.close()

    async def _proxy(
        self, context: Context, call: Call, route: ResourceRoute
    ) -> web.StreamResponse:
        """GET only: to a node's kubelet, or to a Pod's port."""
        if call.method != "GET":
            raise method_not_allowed()
        scheme, name, port = _split_proxy_name(route.target.name)
        target = replace(route.target, name=name)
        owner = await self._authorized(context, call, target)
        _, _, query = call.request.raw_path.partition("?")
        path = f"/{route.tail}" + (f"?{query}" if query else "")
        if target.resource is NODES:
            endpoint = _endpoint_of(owner)
            return await self._pass_response(call, endpoint.url(path, self.scheme), self._tls, "")
        if target.resource is not PODS:
            raise errors.service_unavailable(f"proxy to {target.resource.name} is not served")
        if not owner.status.podIP:
            raise errors.bad_request(f"pod {name} has no IP address")
        endpoint = _Endpoint(owner.status.podIP, _pod_port(owner, port))
        return await self._pass_response(call, endpoint.url(path, scheme or "http"), None, "")


async def _as_messages(call: Call, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
    reply = MessageReply()
    await reply.prepare(call.request)
    async for chunk in chunks:
        await reply.write(chunk)
    await reply.finish()
    return reply.response


def _cancel_when_gone(call: Call) -> None:
    task = asyncio.current_task()
    assert task is not None
    connection.of(call.request).on_lost = task.cancel


def _split_proxy_name(name: str) -> tuple[str, str, str]:
    """`NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`."""
    parts = name.split(":")
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return "", parts[0], parts[1] if len(parts) == 2 else ""


def _pod_port(pod: Any, port: str) -> int:
    """A number, a port's name, or the first port that the Pod declares."""
    if port.isdigit():
        return int(port)
    declared = [p for container in pod.spec.containers for p in container.ports]
    if port:
        for candidate in declared:
            if candidate.name == port:
                return int(candidate.containerPort)
        raise errors.bad_request(f'pod {pod.metadata.name} has no port named "{port}"')
    return int(declared[0].containerPort) if declared else 80


async def _kubelet_of(context: Context, node_name: str) -> _Endpoint:
    """Raises: ApiError."""
    node = await context.verbs.get(LOOPBACK, Target(_NODES, "", node_name))
    return _endpoint_of(node.object)


def _endpoint_of(node: Any) -> _Endpoint:
    port = node.status.daemonEndpoints.kubeletEndpoint.Port or KUBELET_PORT
    for kind in _ADDRESS_TYPES:
        for address in node.status.addresses:
            if address.type == kind:
                return _Endpoint(address.address, port)
    raise errors.internal_error(
        f"no preferred addresses found; known addresses: {len(node.status.addresses)}"
    )


def _upgrade_request(call: Call, endpoint: _Endpoint, path: str) -> bytes:
    """The client's request for the kubelet: its upgrade headers, none of its credentials."""
    lines = [f"{call.method} {path} HTTP/1.1", f"Host: {endpoint.host}:{endpoint.port}"]
    lines += (
        f"{name}: {value}"
        for name, value in call.request.headers.items()
        if name.lower() in _PASSED_ON
    )
    if call.method == "POST":
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _backend_error(status: int, text: str) -> ApiError:
    """The kubelet's error in the server's words."""
    message = text.strip()
    if status == 400:
        return errors.bad_request(message)
    if status == 404:
        return errors.new("NotFound", message or "the server could not find the requested resource")
    reasons = {
        401: "Unauthorized",
        403: "Forbidden",
        405: "MethodNotAllowed",
        503: "ServiceUnavailable",
    }
    if status in reasons:
        return errors.new(reasons[status], message)
    return errors.internal_error(message or f"the kubelet answered {status}")


def _unreachable(url: str, error: Exception) -> ApiError:
    """As upstream's dialer puts it: which address, and why."""
    why = str(error) or type(error).__name__
    return errors.internal_error(f'error dialing backend: Get "{url}": {why}')
