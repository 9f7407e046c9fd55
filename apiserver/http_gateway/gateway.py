"""Door 2: HTTPS with JSON, YAML or protobuf, as kubectl and client-go speak it.

A request passes: who asks (authentication) → which path → resource handlers, which call the same
verbs as the gRPC door, or system paths (discovery, health, version, OpenAPI). Authorization of
resources is the verbs'; that of other paths happens here.

Source: k8s.io/apiserver pkg/server/config.go (DefaultBuildHandlerChain).
"""

import logging
import uuid

from aiohttp import web

from apiserver.authentication.impersonation import impersonated
from apiserver.authorization.interface import Attributes
from apiserver.authorization.messages import forbidden
from apiserver.http_gateway import (
    connection,
    kubelet_proxy,
    request_metrics,
    resource_handlers,
    routes,
)
from apiserver.http_gateway.context import Call, Context
from apiserver.http_gateway.negotiation import wants_gzip
from apiserver.http_gateway.reply import GZIP_THRESHOLD_BYTES, Reply, clean
from apiserver.http_gateway.request import parse_query
from apiserver.http_gateway.responses import add_warnings, error_reply, path_not_found
from apiserver.http_gateway.system_paths import SystemPaths
from apiserver.registry.subresources import STREAMING
from podpath.api import errors
from podpath.api.errors import ApiError

logger = logging.getLogger(__name__)

_AUDIT_ID_LENGTH_MAX = 64


class Gateway:
    """Answers requests. `handle` is an aiohttp low-level server's handler."""

    def __init__(
        self,
        context: Context,
        system_paths: SystemPaths,
        kubelets: kubelet_proxy.KubeletProxy | None = None,
    ) -> None:
        self._context = context
        self._system_paths = system_paths
        self._kubelets = kubelets

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Never raises but for cancellation and a client that has gone."""
        headers = request.headers
        accept = headers.get("Accept", "")
        audit_id = headers.get("Audit-Id", "")[:_AUDIT_ID_LENGTH_MAX] or str(uuid.uuid4())
        started_s = self._context.clock.monotonic()
        call: Call | None = None
        response: web.StreamResponse
        try:
            call = self._call(request, accept, audit_id)
            response = await self._dispatch(call)
        except ApiError as error:
            response = error_reply(error, accept)
        except ConnectionError:
            raise
        except TimeoutError:
            timeout = errors.timeout("request did not complete within the allotted timeout")
            response = error_reply(timeout, accept)
        except Exception:
            logger.exception("request failed", extra={"path": request.path, "audit": audit_id})
            response = error_reply(errors.internal_error("see the server's log"), accept)
        if isinstance(response, Reply):
            self._finish(request, response, call, audit_id)
        elapsed_s = self._context.clock.monotonic() - started_s
        request_metrics.observe(request.method, response.status, elapsed_s)
        return response

    def _call(self, request: web.BaseRequest, accept: str, audit_id: str) -> Call:
        """Raises: ApiError (Unauthorized, Forbidden)."""
        path, _, query = request.raw_path.partition("?")
        certificate = connection.of(request).certificate
        authenticator = self._context.authenticator
        user = authenticator.authenticate(certificate, request.headers.get("Authorization"))
        if any(name.lower().startswith("impersonate-") for name in request.headers):
            authorizer = self._context.authorizer
            user = impersonated(user, request.headers.items(), authorizer)
        return Call(request, user, path, parse_query(query), accept, audit_id)

    async def _dispatch(self, call: Call) -> web.StreamResponse:
        if not routes.is_resource_path(call.path):
            self._authorize(Attributes(call.user, call.method.lower(), path=call.path))
            return await self._serve_path(call)
        try:
            route = routes.parse(call.path)
        except routes.NoSuchPathError:
            self._authorize(_unserved(call))
            return await self._serve_path(call)
        if route.target.subresource in STREAMING:
            if self._kubelets is None:
                raise errors.service_unavailable("no connection to kubelets is configured")
            return await self._kubelets.handle(self._context, call, route)
        return await resource_handlers.handle(self._context, call, route)

    def _authorize(self, attributes: Attributes) -> None:
        """For what no verb is called. Raises: ApiError Forbidden."""
        decision = self._context.authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)

    async def _serve_path(self, call: Call) -> web.StreamResponse:
        reply = await self._system_paths.answer(call)
        return path_not_found() if reply is None else reply

    @staticmethod
    def _finish(request: web.BaseRequest, reply: Reply, call: Call | None, audit_id: str) -> None:
        extra = reply.extra_headers
        extra.append(("Audit-Id", clean(audit_id)))
        if not any(name == "Cache-Control" for name, _ in extra):
            extra.append(("Cache-Control", "no-cache, private"))
        if call is not None and call.warnings:
            add_warnings(reply, call.warnings)
        if len(reply.body) > GZIP_THRESHOLD_BYTES and wants_gzip(
            request.headers.get("Accept-Encoding", "")
        ):
            reply.compress()


_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _unserved(call: Call) -> Attributes:
    """A request for a resource that is not served: one may only learn that if one may ask."""
    parts = routes.split(call.path)
    verb = _VERBS.get(call.method, "get" if parts.name else "list")
    return Attributes(
        call.user,
        verb,
        parts.group,
        parts.resource,
        parts.subresource,
        parts.namespace,
        parts.name,
    )
