"""A CRI server that only passes on: for `podpath cri proxy`, between a kubelet and its runtime."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.remote_cri import RemoteCri
from runtime_shim.server import method_name

_RPC_OF = {
    method_name(method.name): method.name
    for service in cri.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.server_streaming
}


class Passthrough:
    """Has RuntimeShim's methods; every one is the other server's."""

    def __init__(self, remote: RemoteCri) -> None:
        self._remote = remote

    def __getattr__(self, name: str) -> Callable[[Any], Awaitable[Any]]:
        try:
            rpc = _RPC_OF[name]
        except KeyError:
            raise AttributeError(name) from None

        async def call(request: Any) -> Any:
            return await self._remote.call(rpc, request)

        return call

    def get_container_events(
        self, _: cri.GetEventsRequest
    ) -> AsyncIterator[cri.ContainerEventResponse]:
        return self._remote.events()
