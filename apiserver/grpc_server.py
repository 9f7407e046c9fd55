"""Door 1: podpath.apiserver.v1 over gRPC and TLS, through which the components come.

Requests are parsed by protobuf; responses are spliced from bytes that exist already (`splice.py`),
so an object is serialised once, whoever reads or watches it.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError, Message

from apiserver import splice
from apiserver.grpc_requests import (
    check_size,
    item_of,
    item_or_error,
    parse_json,
    resource_of,
    target_of,
    write_options,
)
from apiserver.verbs.interface import (
    BatchItem,
    ListOptions,
    Selectors,
    Target,
    UserInfo,
    Verbs,
    WatchOptions,
)
from podpath.api import errors
from podpath.api.errors import ApiError
from podpath.client import grpc_status
from protos.k8s.meta_v1_pb2 import Status
from protos.k8s.runtime_pb2 import Unknown
from protos.podpath import apiserver_v1_pb2 as api

_log = logging.getLogger(__name__)

SERVICE = "podpath.apiserver.v1.ApiServer"
REQUEST_BYTES_MAX = 64 << 20
"""A batch may be large; one object may not (`grpc_requests.OBJECT_BYTES_MAX`)."""
EVENTS_PER_MESSAGE_MAX = 500

_SUCCESS = Status(status="Success").SerializeToString()

Context = Any  # grpc.aio.ServicerContext, whose stubs are generic in ways that add nothing here


class Authenticator(Protocol):
    """Who is asking. Raises: Unauthorized."""

    def authenticate(self, peer_cert_der: bytes | None, authorization: str | None) -> UserInfo: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the trace context that came along."""

    user: UserInfo
    traceparent: str = ""


def credentials(cert: bytes, key: bytes, client_ca: bytes) -> grpc.ServerCredentials:
    """TLS. With `client_ca` every client must show a certificate that it signed; without, clients
    show none and come with a token (grpcio has nothing in between)."""
    return grpc.ssl_server_credentials(
        [(key, cert)], root_certificates=client_ca or None, require_client_auth=bool(client_ca)
    )


class GrpcServer:
    """The gRPC door on one address."""

    def __init__(self, verbs: Verbs, authenticator: Authenticator) -> None:
        self._verbs = verbs
        self._authenticator = authenticator
        self._server: grpc.aio.Server | None = None
        self._peers: dict[bytes, bytes] = {}

    async def start(self, listeners: Mapping[str, grpc.ServerCredentials]) -> None:
        """Listens on each address (HOST:PORT). Raises: RuntimeError when one is taken."""
        options = [
            ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self._handlers(),))
        for address, creds in listeners.items():
            self._server.add_secure_port(address, creds)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Ends: calls under way have `grace_s` to finish; watches are cut."""
        if self._server is not None:
            await self._server.stop(grace_s)

    def _handlers(self) -> "grpc.GenericRpcHandler[Any, Any]":
        calls: dict[str, tuple[Callable[..., Awaitable[bytes]], type[Message]]] = {
            "Get": (self._get, api.GetRequest),
            "List": (self._list, api.ListRequest),
            "Create": (self._create, api.CreateRequest),
            "CreateBatch": (self._create_batch, api.CreateBatchRequest),
            "Update": (self._update, api.UpdateRequest),
            "UpdateStatus": (self._update_status, api.UpdateStatusRequest),
            "UpdateStatusBatch": (self._update_status_batch, api.UpdateStatusBatchRequest),
            "Patch": (self._patch, api.PatchRequest),
            "Delete": (self._delete, api.DeleteRequest),
            "DeleteCollection": (self._delete_collection, api.DeleteCollectionRequest),
            "Bind": (self._bind, api.BindRequest),
            "BindBatch": (self._bind_batch, api.BindBatchRequest),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                self._answering(call), request_deserializer=message.FromString
            )
            for name, (call, message) in calls.items()
        }
        handlers["Watch"] = grpc.unary_stream_rpc_method_handler(
            self._watch, request_deserializer=api.WatchRequest.FromString
        )
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _answering(self, call: Callable[..., Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
        """The call as gRPC makes it: authenticated, its errors told in gRPC's way."""

        async def answer(request: Any, context: Context) -> bytes:
            try:
                return await call(self._caller(context), request)
            except ApiError as error:
                await _abort(context, error)
            except DecodeError as error:
                await _abort(context, errors.bad_request(f"object cannot be decoded: {error}"))
            except Exception:
                _log.exception("a call failed unexpectedly")
                await _abort(context, errors.internal_error("see the server's log"))
            raise AssertionError("abort raises")

        return answer

    def _caller(self, context: Context) -> Caller:
        authorization, traceparent = None, ""
        for key, value in context.invocation_metadata():
            if key == "authorization":
                authorization = value
            elif key == "traceparent":
                traceparent = value
        user = self._authenticator.authenticate(self._peer_der(context), authorization)
        return Caller(user, traceparent)

    def _peer_der(self, context: Context) -> bytes | None:
        """The client's certificate. gRPC hands out PEM; converted once for each."""
        pems = context.auth_context().get("x509_pem_cert")
        if not pems:
            return None
        pem: bytes = pems[0]
        der = self._peers.get(pem)
        if der is None:
            der = ssl.PEM_cert_to_DER_cert(pem.decode())
            if len(self._peers) > 4096:
                self._peers.clear()
            self._peers[pem] = der
        return der

    async def _get(self, caller: Caller, request: api.GetRequest) -> bytes:
        version = await self._verbs.get(caller.user, target_of(request), request.resource_version)
        return version.unknown_bytes

    async def _list(self, caller: Caller, request: api.ListRequest) -> bytes:
        target = Target(resource_of(request.resource), request.namespace)
        options = ListOptions(
            Selectors(request.label_selector, request.field_selector),
            request.limit,
            request.continue_token,
            request.resource_version,
            request.resource_version_match,
        )
        return splice.list_response(await self._verbs.list(caller.user, target, options))

    async def _create(self, caller: Caller, request: api.CreateRequest) -> bytes:
        item = item_of(request, request.subresource, caller.traceparent)
        version = await self._verbs.create(caller.user, item.target, item.object, item.options)
        return version.unknown_bytes

    async def _create_batch(self, caller: Caller, request: api.CreateBatchRequest) -> bytes:
        return await self._batch(
            [item_or_error(i, i.subresource, caller.traceparent) for i in request.items],
            lambda items: self._verbs.create_batch(caller.user, items),
        )

    async def _update(self, caller: Caller, request: api.UpdateRequest) -> bytes:
        item = item_of(request, request.subresource)
        version = await self._verbs.update(caller.user, item.target, item.object, item.options)
        return version.unknown_bytes

    async def _update_status(self, caller: Caller, request: api.UpdateStatusRequest) -> bytes:
        item = item_of(request, "status")
        version = await self._verbs.update(caller.user, item.target, item.object, item.options)
        return version.unknown_bytes

    async def _update_status_batch(
        self, caller: Caller, request: api.UpdateStatusBatchRequest
    ) -> bytes:
        return await self._batch(
            [item_or_error(item, "status") for item in request.items],
            lambda items: self._verbs.update_batch(caller.user, items),
        )

    async def _batch(
        self,
        decoded: list[BatchItem | ApiError],
        run: Callable[[list[BatchItem]], Awaitable[Any]],
    ) -> bytes:
        """Runs what could be decoded; the others' errors keep their places."""
        outcomes = iter(await run([item for item in decoded if isinstance(item, BatchItem)]))
        results = [next(outcomes) if isinstance(i, BatchItem) else i for i in decoded]
        return splice.batch_response(results)

    async def _patch(self, caller: Caller, request: api.PatchRequest) -> bytes:
        check_size(len(request.patch))
        version = await self._verbs.patch(
            caller.user,
            target_of(request),
            request.patch_type,
            parse_json(request.patch),
            write_options(request.options, caller.traceparent, force=request.force),
        )
        return version.unknown_bytes

    async def _delete(self, caller: Caller, request: api.DeleteRequest) -> bytes:
        target = Target(resource_of(request.resource), request.namespace, request.name)
        result = await self._verbs.delete(caller.user, target, request.options)
        if not isinstance(result, Status):
            return result.unknown_bytes
        unknown = Unknown(raw=result.SerializeToString())
        unknown.typeMeta.apiVersion, unknown.typeMeta.kind = "v1", "Status"
        return unknown.SerializeToString()

    async def _delete_collection(
        self, caller: Caller, request: api.DeleteCollectionRequest
    ) -> bytes:
        target = Target(resource_of(request.resource), request.namespace)
        selectors = Selectors(request.label_selector, request.field_selector)
        result = await self._verbs.delete_collection(
            caller.user, target, request.options, selectors
        )
        return splice.list_response(result)

    async def _bind(self, caller: Caller, request: api.BindRequest) -> bytes:
        await self._verbs.bind(caller.user, request.binding, write_options(request.options))
        return _SUCCESS

    async def _bind_batch(self, caller: Caller, request: api.BindBatchRequest) -> bytes:
        items = [(item.binding, write_options(item.options)) for item in request.items]
        outcomes = await self._verbs.bind_batch(caller.user, items)
        return splice.batch_response([_SUCCESS if o is None else o for o in outcomes])

    async def _watch(self, request: api.WatchRequest, context: Context) -> AsyncIterator[bytes]:
        try:
            user = self._caller(context).user
            target = Target(resource_of(request.resource), request.namespace)
            options = WatchOptions(
                Selectors(request.label_selector, request.field_selector),
                request.resource_version,
                request.send_initial_events,
                "NotOlderThan" if request.send_initial_events else "",
                request.allow_bookmarks or request.send_initial_events,
                float(request.timeout_seconds),
            )
            async for events in self._verbs.watch(user, target, options):
                for start in range(0, len(events), EVENTS_PER_MESSAGE_MAX):
                    yield splice.watch_response(events[start : start + EVENTS_PER_MESSAGE_MAX])
        except ApiError as error:
            await _abort(context, error)
        except asyncio.CancelledError:
            raise
        except grpc.aio.AbortError:
            raise
        except Exception:
            _log.exception("a watch failed unexpectedly")
            await _abort(context, errors.internal_error("see the server's log"))


async def _abort(context: Context, error: ApiError) -> None:
    code, message, metadata = grpc_status.encode(error)
    await context.abort(code, message, metadata)
