"""The gRPC door: both CRI services on a unix socket, in front of a RuntimeShim."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# gRPC's fork handlers crash one in ten children of a process that starts programs, and we exec at
# once anyway. It reads this when it is loaded.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # noqa: TID251

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import CriError

MAX_MESSAGE_BYTES = 16 << 20
"""As containerd and the kubelet have it."""
STOP_GRACE_S = 2.0

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@asynccontextmanager
async def serve(shim: object, socket: Path) -> AsyncIterator[None]:
    """Serves while the block runs. `shim` has RuntimeShim's methods.

    The socket is its owner's alone (0600): CRI is root's power.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
    )
    for service in cri.DESCRIPTOR.services_by_name.values():
        server.add_generic_rpc_handlers((_handlers(service, shim),))
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        await asyncio.shield(server.stop(STOP_GRACE_S))
        socket.unlink(missing_ok=True)


def method_name(rpc: str) -> str:
    """`RunPodSandbox` -> `run_pod_sandbox`: how RuntimeShim names its methods."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", rpc).lower()


def _handlers(service: ServiceDescriptor, shim: object) -> "grpc.GenericRpcHandler[Any, Any]":
    return grpc.method_handlers_generic_handler(
        service.full_name, {method.name: _handler(method, shim) for method in service.methods}
    )


def _handler(method: MethodDescriptor, shim: object) -> "grpc.RpcMethodHandler[Any, Any]":
    call = getattr(shim, method_name(method.name))
    make = grpc.unary_unary_rpc_method_handler
    behaviour: Callable[..., Any] = _unary(call)
    if method.server_streaming:
        make, behaviour = grpc.unary_stream_rpc_method_handler, _stream(call)
    return make(
        behaviour,
        request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
        response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
    )


def _unary(
    call: Callable[[Any], Awaitable[Any]],
) -> Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]:
    async def behaviour(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        try:
            return await call(request)
        except CriError as error:
            await context.abort(_CODES[error.code], error.message)

    return behaviour


def _stream(
    call: Callable[[Any], AsyncIterator[Any]],
) -> Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], AsyncIterator[Any]]:
    async def behaviour(
        request: Any, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[Any]:
        try:
            async for response in call(request):
                yield response
        except CriError as error:
            await context.abort(_CODES[error.code], error.message)

    return behaviour
