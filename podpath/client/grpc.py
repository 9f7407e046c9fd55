"""The Client over podpath.apiserver.v1: how the components reach the API server.

Concurrent creates, status updates and bindings become batch calls when there is a backlog
(`batcher.py`); a call alone is never delayed.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message

from podpath.api.errors import ApiError
from podpath.api.scheme import ObjectT, Resource
from podpath.client import grpc_status
from podpath.client.batcher import Batcher
from podpath.client.interface import EVERYTHING, EventType, ObjectList, Selection, WatchEvent
from podpath.client.kubeconfig import KubeConfig, KubeConfigError
from protos.k8s.core_v1_pb2 import Binding
from protos.k8s.meta_v1_pb2 import DeleteOptions, Status
from protos.k8s.runtime_pb2 import Unknown
from protos.podpath import apiserver_v1_pb2 as api

SERVICE = "/podpath.apiserver.v1.ApiServer/"
CALL_TIMEOUT_S = 65.0
"""Longer than the server's own limit of 60 s, whose error says more."""
BATCH_ITEMS_MAX = 500

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Also the connect timeout: shorter ones fail under load.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.use_local_subchannel_pool", 1),
)

_TYPES = {
    api.ADDED: EventType.ADDED,
    api.MODIFIED: EventType.MODIFIED,
    api.DELETED: EventType.DELETED,
    api.BOOKMARK: EventType.BOOKMARK,
}

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Item = tuple[Resource[Any], Any]


class GrpcClient:
    """Implements `podpath.client.interface.Client`. An async context manager: closes at its end.

    Args:
        config: address and credentials (`podpath.client.kubeconfig.load`).
        coalesce: whether concurrent writes may share a batch call.
        field_manager: the name under which it writes.
    """

    def __init__(
        self, config: KubeConfig, *, coalesce: bool = True, field_manager: str = ""
    ) -> None:
        self._config = config
        self._write = api.WriteOptions(field_manager=field_manager)
        self._coalesce = coalesce
        self._channel = _channel(config)
        unknown = Unknown.FromString
        self._get = self._call("Get", unknown)
        self._list = self._call("List", api.ListResponse.FromString)
        self._create = self._call("Create", unknown)
        self._create_batch = self._call("CreateBatch", api.BatchResponse.FromString)
        self._update = self._call("Update", unknown)
        self._update_status = self._call("UpdateStatus", unknown)
        self._update_status_batch = self._call("UpdateStatusBatch", api.BatchResponse.FromString)
        self._patch = self._call("Patch", unknown)
        self._delete = self._call("Delete", unknown)
        self._bind = self._call("Bind", Status.FromString)
        self._bind_batch = self._call("BindBatch", api.BatchResponse.FromString)
        self._watch = self._channel.unary_stream(
            SERVICE + "Watch",
            request_serializer=_serialize,
            response_deserializer=api.WatchResponse.FromString,
        )
        self._creates: Batcher[Item, Any] = Batcher(self._create_one, self._create_items)
        self._statuses: Batcher[Item, Any] = Batcher(self._status_one, self._status_items)
        self._binds: Batcher[Binding, None] = Batcher(self._bind_one, self.bind_many)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and what is under way on it."""
        await self._channel.close(None)

    # Reader

    async def get(
        self, resource: Resource[ObjectT], namespace: str, name: str, *, resource_version: str = ""
    ) -> ObjectT:
        request = api.GetRequest(
            resource=_ref(resource),
            namespace=namespace,
            name=name,
            resource_version=resource_version,
        )
        return _decode(resource, await self._get(request))

    async def list(
        self,
        resource: Resource[ObjectT],
        selection: Selection = EVERYTHING,
        *,
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList[ObjectT]:
        response = await self._list(
            api.ListRequest(
                resource=_ref(resource),
                namespace=selection.namespace,
                label_selector=selection.label_selector,
                field_selector=selection.field_selector,
                limit=limit,
                continue_token=continue_token,
                resource_version=resource_version,
            )
        )
        items = [_decode(resource, item) for item in response.items]
        return ObjectList(items, response.resource_version, response.continue_token)

    async def watch(
        self,
        resource: Resource[ObjectT],
        selection: Selection = EVERYTHING,
        *,
        resource_version: str = "",
        send_initial_events: bool = False,
    ) -> AsyncIterator[Sequence[WatchEvent[ObjectT]]]:
        request = api.WatchRequest(
            resource=_ref(resource),
            namespace=selection.namespace,
            label_selector=selection.label_selector,
            field_selector=selection.field_selector,
            resource_version=resource_version,
            send_initial_events=send_initial_events,
            allow_bookmarks=True,
        )
        call = self._watch(request, metadata=self._metadata())
        try:
            async for response in call:
                yield [
                    WatchEvent(_TYPES[event.type], _decode(resource, event.object))
                    for event in response.events
                ]
        except grpc.aio.AioRpcError as error:
            raise grpc_status.decode(error) from None
        finally:
            call.cancel()

    # Writer

    async def create(
        self,
        resource: Resource[ObjectT],
        obj: ObjectT,
        *,
        subresource: str = "",
        name: str = "",
        dry_run: bool = False,
    ) -> ObjectT:
        if self._coalesce and not subresource and not dry_run:
            return cast("ObjectT", await self._creates.call((resource, obj)))
        request = self._create_request(resource, obj)
        request.subresource, request.name = subresource, name
        request.options.dry_run = dry_run
        return _decode_as(type(obj), await self._create(request))

    async def create_many(
        self, resource: Resource[ObjectT], objs: Sequence[ObjectT]
    ) -> Sequence[ObjectT | ApiError]:
        return await self._create_items([(resource, obj) for obj in objs])

    async def update(
        self, resource: Resource[ObjectT], obj: ObjectT, *, subresource: str = ""
    ) -> ObjectT:
        meta = _meta(obj)
        request = api.UpdateRequest(
            resource=_ref(resource),
            namespace=meta.namespace,
            name=meta.name,
            subresource=subresource,
            object=_encode(resource, obj),
            options=self._write,
        )
        return _decode_as(type(obj), await self._update(request))

    async def update_status(self, resource: Resource[ObjectT], obj: ObjectT) -> ObjectT:
        if self._coalesce:
            return cast("ObjectT", await self._statuses.call((resource, obj)))
        return cast("ObjectT", await self._status_one((resource, obj)))

    async def update_status_many(
        self, resource: Resource[ObjectT], objs: Sequence[ObjectT]
    ) -> Sequence[ObjectT | ApiError]:
        return await self._status_items([(resource, obj) for obj in objs])

    async def patch(
        self,
        resource: Resource[ObjectT],
        namespace: str,
        name: str,
        patch: bytes,
        *,
        patch_type: str = "application/strategic-merge-patch+json",
        subresource: str = "",
    ) -> ObjectT:
        request = api.PatchRequest(
            resource=_ref(resource),
            namespace=namespace,
            name=name,
            subresource=subresource,
            patch_type=patch_type,
            patch=patch,
            options=self._write,
        )
        return _decode(resource, await self._patch(request))

    async def delete(
        self,
        resource: Resource[ObjectT],
        namespace: str,
        name: str,
        options: DeleteOptions | None = None,
    ) -> None:
        await self._delete(
            api.DeleteRequest(
                resource=_ref(resource), namespace=namespace, name=name, options=options
            )
        )

    async def bind(self, binding: Binding) -> None:
        if self._coalesce:
            await self._binds.call(binding)
        else:
            await self._bind_one(binding)

    async def bind_many(self, bindings: Sequence[Binding]) -> Sequence[ApiError | None]:
        results: list[ApiError | None] = []
        for start in range(0, len(bindings), BATCH_ITEMS_MAX):
            request = api.BindBatchRequest()
            for binding in bindings[start : start + BATCH_ITEMS_MAX]:
                request.items.add(binding=binding, options=self._write)
            response = await self._bind_batch(request)
            results += [
                None if r.status.status == "Success" else ApiError(r.status)
                for r in response.results
            ]
        return results

    # Its parts

    def _call(
        self, name: str, deserialize: Callable[[bytes], ResponseT]
    ) -> Callable[[Message], Any]:
        stub = self._channel.unary_unary(
            SERVICE + name, request_serializer=_serialize, response_deserializer=deserialize
        )

        async def call(request: Message) -> ResponseT:
            try:
                return cast(
                    "ResponseT",
                    await stub(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata()),
                )
            except grpc.aio.AioRpcError as error:
                raise grpc_status.decode(error) from None

        return call

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._config.bearer_token()
        return (("authorization", f"Bearer {token}"),) if token else ()

    def _create_request(self, resource: Resource[Any], obj: Any) -> api.CreateRequest:
        return api.CreateRequest(
            resource=_ref(resource),
            namespace=_meta(obj).namespace,
            object=_encode(resource, obj),
            options=self._write,
        )

    async def _create_one(self, item: Item) -> Any:
        return _decode(item[0], await self._create(self._create_request(*item)))

    async def _create_items(self, items: Sequence[Item]) -> Sequence[Any]:
        results: list[Any] = []
        for start in range(0, len(items), BATCH_ITEMS_MAX):
            part = items[start : start + BATCH_ITEMS_MAX]
            request = api.CreateBatchRequest(items=[self._create_request(*item) for item in part])
            results += _results(part, await self._create_batch(request))
        return results

    def _status_request(self, resource: Resource[Any], obj: Any) -> api.UpdateStatusRequest:
        meta = _meta(obj)
        return api.UpdateStatusRequest(
            resource=_ref(resource),
            namespace=meta.namespace,
            name=meta.name,
            object=_encode(resource, obj),
            options=self._write,
        )

    async def _status_one(self, item: Item) -> Any:
        return _decode(item[0], await self._update_status(self._status_request(*item)))

    async def _status_items(self, items: Sequence[Item]) -> Sequence[Any]:
        results: list[Any] = []
        for start in range(0, len(items), BATCH_ITEMS_MAX):
            part = items[start : start + BATCH_ITEMS_MAX]
            request = api.UpdateStatusBatchRequest(
                items=[self._status_request(*item) for item in part]
            )
            results += _results(part, await self._update_status_batch(request))
        return results

    async def _bind_one(self, binding: Binding) -> None:
        await self._bind(api.BindRequest(binding=binding, options=self._write))


def _channel(config: KubeConfig) -> grpc.aio.Channel:
    if not config.grpc_address:
        raise KubeConfigError(
            "the kubeconfig's cluster has no gRPC door: extension podpath.io/grpc is missing"
        )
    if config.insecure_skip_tls_verify:
        raise KubeConfigError(
            "insecure-skip-tls-verify: not possible over gRPC; set the cluster's CA"
        )
    credentials = grpc.ssl_channel_credentials(
        config.ca or None, config.key or None, config.cert or None
    )
    options = list(_OPTIONS)
    if config.tls_server_name:
        options.append(("grpc.ssl_target_name_override", config.tls_server_name))  # type: ignore[arg-type]
    return grpc.aio.secure_channel(config.grpc_address, credentials, options=options)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _meta(obj: Any) -> Any:
    return obj.metadata


def _ref(resource: Resource[Any]) -> api.ResourceRef:
    return api.ResourceRef(group=resource.group, version=resource.version, resource=resource.name)


def _encode(resource: Resource[Any], obj: Message) -> Unknown:
    unknown = Unknown(raw=obj.SerializeToString())
    # A subresource may take another kind (Binding, Eviction, TokenRequest): it has no type here.
    if isinstance(obj, resource.message):
        unknown.typeMeta.apiVersion = resource.api_version
        unknown.typeMeta.kind = resource.kind
    return unknown


def _decode(resource: Resource[ObjectT], unknown: Unknown) -> ObjectT:
    return resource.message.FromString(unknown.raw)


def _decode_as(message: type[ObjectT], unknown: Unknown) -> ObjectT:
    return message.FromString(unknown.raw)


def _results(items: Sequence[Item], response: api.BatchResponse) -> list[Any]:
    return [
        ApiError(result.status)
        if result.WhichOneof("result") == "status"
        else _decode(item[0], result.object)
        for item, result in zip(items, response.results, strict=True)
    ]
