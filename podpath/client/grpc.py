"""The Client over podpath.apiserver.v1: how the components reach the API server.

Concurrent creates, status updates and bindings become batch calls when there is a backlog
(`batcher.py`); a call alone is never delayed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message

from podpath.api.errors import ApiError
from podpath.api.scheme import ObjectT, Resource
from podpath.client import grpc_status
from podpath.client.batcher import Batcher
from podpath.client.grpc_wire import (
    Item,
    decode,
    decode_as,
    encode,
    meta_of,
    open_channel,
    ref,
    results_of,
    serialize,
)
from podpath.client.interface import EVERYTHING, EventType, ObjectList, Selection, WatchEvent
from podpath.client.kubeconfig import KubeConfig
from protos.k8s.core_v1_pb2 import Binding
from protos.k8s.meta_v1_pb2 import DeleteOptions, Status
from protos.k8s.runtime_pb2 import Unknown
from protos.podpath import apiserver_v1_pb2 as api

SERVICE = "/podpath.apiserver.v1.ApiServer/"
CALL_TIMEOUT_S = 65.0
"""Longer than the server's own limit of 60 s, whose error says more."""
BATCH_ITEMS_MAX = 500

_TYPES = {
    api.ADDED: EventType.ADDED,
    api.MODIFIED: EventType.MODIFIED,
    api.DELETED: EventType.DELETED,
    api.BOOKMARK: EventType.BOOKMARK,
}

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


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
        self._write = api.WriteOptions(field_manager=field_manager)
        self._coalesce = coalesce
        self._watching: set[Any] = set()
        self._open(config)
        self._creates: Batcher[Item, Any] = Batcher(self._create_one, self._create_items)
        self._statuses: Batcher[Item, Any] = Batcher(self._status_one, self._status_items)
        self._binds: Batcher[Binding, None] = Batcher(self._bind_one, self.bind_many)

    def _open(self, config: KubeConfig) -> None:
        self._config = config
        self._channel = open_channel(config)
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
            request_serializer=serialize,
            response_deserializer=api.WatchResponse.FromString,
        )

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

    async def reconnect(self, config: KubeConfig) -> None:
        """Goes on with other credentials. Calls under way finish; watches end, as if the server
        had ended them, and their watchers start them again."""
        old, watching = self._channel, tuple(self._watching)
        self._open(config)
        for call in watching:
            self._watching.discard(call)
            call.cancel()
        await old.close(CALL_TIMEOUT_S)

    # Reader

    async def get(
        self, resource: Resource[ObjectT], namespace: str, name: str, *, resource_version: str = ""
    ) -> ObjectT:
        request = api.GetRequest(
            resource=ref(resource),
            namespace=namespace,
            name=name,
            resource_version=resource_version,
        )
        return decode(resource, await self._get(request))

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
                resource=ref(resource),
                namespace=selection.namespace,
                label_selector=selection.label_selector,
                field_selector=selection.field_selector,
                limit=limit,
                continue_token=continue_token,
                resource_version=resource_version,
            )
        )
        items = [decode(resource, item) for item in response.items]
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
            resource=ref(resource),
            namespace=selection.namespace,
            label_selector=selection.label_selector,
            field_selector=selection.field_selector,
            resource_version=resource_version,
            send_initial_events=send_initial_events,
            allow_bookmarks=True,
        )
        call = self._watch(request, metadata=self._metadata())
        self._watching.add(call)
        try:
            async for response in call:
                yield [
                    WatchEvent(_TYPES[event.type], decode(resource, event.object))
                    for event in response.events
                ]
        except grpc.aio.AioRpcError as error:
            raise grpc_status.decode(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call in self._watching or (task is not None and task.cancelling()):
                raise
            # Ended by `reconnect`.
        finally:
            self._watching.discard(call)
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
        return decode_as(type(obj), await self._create(request))

    async def create_many(
        self, resource: Resource[ObjectT], objs: Sequence[ObjectT]
    ) -> Sequence[ObjectT | ApiError]:
        return await self._create_items([(resource, obj) for obj in objs])

    async def update(
        self, resource: Resource[ObjectT], obj: ObjectT, *, subresource: str = ""
    ) -> ObjectT:
        meta = meta_of(obj)
        request = api.UpdateRequest(
            resource=ref(resource),
            namespace=meta.namespace,
            name=meta.name,
            subresource=subresource,
            object=encode(resource, obj),
            options=self._write,
        )
        return decode_as(type(obj), await self._update(request))

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
            resource=ref(resource),
            namespace=namespace,
            name=name,
            subresource=subresource,
            patch_type=patch_type,
            patch=patch,
            options=self._write,
        )
        return decode(resource, await self._patch(request))

    async def delete(
        self,
        resource: Resource[ObjectT],
        namespace: str,
        name: str,
        options: DeleteOptions | None = None,
    ) -> None:
        await self._delete(
            api.DeleteRequest(
                resource=ref(resource), namespace=namespace, name=name, options=options
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
            SERVICE + name, request_serializer=serialize, response_deserializer=deserialize
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
            resource=ref(resource),
            namespace=meta_of(obj).namespace,
            object=encode(resource, obj),
            options=self._write,
        )

    async def _create_one(self, item: Item) -> Any:
        return decode(item[0], await self._create(self._create_request(*item)))

    async def _create_items(self, items: Sequence[Item]) -> Sequence[Any]:
        results: list[Any] = []
        for start in range(0, len(items), BATCH_ITEMS_MAX):
            part = items[start : start + BATCH_ITEMS_MAX]
            request = api.CreateBatchRequest(items=[self._create_request(*item) for item in part])
            results += results_of(part, await self._create_batch(request))
        return results

    def _status_request(self, resource: Resource[Any], obj: Any) -> api.UpdateStatusRequest:
        meta = meta_of(obj)
        return api.UpdateStatusRequest(
            resource=ref(resource),
            namespace=meta.namespace,
            name=meta.name,
            object=encode(resource, obj),
            options=self._write,
        )

    async def _status_one(self, item: Item) -> Any:
        return decode(item[0], await self._update_status(self._status_request(*item)))

    async def _status_items(self, items: Sequence[Item]) -> Sequence[Any]:
        results: list[Any] = []
        for start in range(0, len(items), BATCH_ITEMS_MAX):
            part = items[start : start + BATCH_ITEMS_MAX]
            request = api.UpdateStatusBatchRequest(
                items=[self._status_request(*item) for item in part]
            )
            results += results_of(part, await self._update_status_batch(request))
        return results

    async def _bind_one(self, binding: Binding) -> None:
        await self._bind(api.BindRequest(binding=binding, options=self._write))
