"""The runtime as the kubelet sees it: CRI calls over a unix socket or inside one process.

`Cri` has CRI's own method names; a request goes in, a response comes out. Failures are CriError.

Source: k8s.io/cri-api pkg/apis/runtime/v1, k8s.io/cri-client pkg/remote_runtime.go.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
import grpc.aio

from protos.cri import runtime_v1_pb2 as cri
from protos.cri import runtime_v1_pb2_grpc

REQUEST_TIMEOUT_S = 120.0
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# No deadline of ours: the request itself says how long it may take, or it is an image's size.
_UNBOUNDED = frozenset({"PullImage", "StopContainer", "ExecSync"})


class CriError(Exception):
    """A failed CRI call: gRPC's status code by name (`NOT_FOUND`) and the runtime's message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        # As Go's gRPC prints it, because events and statuses carry this text.
        return f"rpc error: code = {_camel(self.code)} desc = {self.message}"


class Cri(Protocol):
    """The CRI calls that the kubelet makes. Every one raises CriError."""

    def Version(self, request: cri.VersionRequest) -> Awaitable[cri.VersionResponse]: ...
    def Status(self, request: cri.StatusRequest) -> Awaitable[cri.StatusResponse]: ...
    def RuntimeConfig(
        self, request: cri.RuntimeConfigRequest
    ) -> Awaitable[cri.RuntimeConfigResponse]: ...
    def UpdateRuntimeConfig(
        self, request: cri.UpdateRuntimeConfigRequest
    ) -> Awaitable[cri.UpdateRuntimeConfigResponse]: ...
    def RunPodSandbox(
        self, request: cri.RunPodSandboxRequest
    ) -> Awaitable[cri.RunPodSandboxResponse]: ...
    def StopPodSandbox(
        self, request: cri.StopPodSandboxRequest
    ) -> Awaitable[cri.StopPodSandboxResponse]: ...
    def RemovePodSandbox(
        self, request: cri.RemovePodSandboxRequest
    ) -> Awaitable[cri.RemovePodSandboxResponse]: ...
    def PodSandboxStatus(
        self, request: cri.PodSandboxStatusRequest
    ) -> Awaitable[cri.PodSandboxStatusResponse]: ...
    def ListPodSandbox(
        self, request: cri.ListPodSandboxRequest
    ) -> Awaitable[cri.ListPodSandboxResponse]: ...
    def CreateContainer(
        self, request: cri.CreateContainerRequest
    ) -> Awaitable[cri.CreateContainerResponse]: ...
    def StartContainer(
        self, request: cri.StartContainerRequest
    ) -> Awaitable[cri.StartContainerResponse]: ...
    def StopContainer(
        self, request: cri.StopContainerRequest
    ) -> Awaitable[cri.StopContainerResponse]: ...
    def RemoveContainer(
        self, request: cri.RemoveContainerRequest
    ) -> Awaitable[cri.RemoveContainerResponse]: ...
    def ListContainers(
        self, request: cri.ListContainersRequest
    ) -> Awaitable[cri.ListContainersResponse]: ...
    def ContainerStatus(
        self, request: cri.ContainerStatusRequest
    ) -> Awaitable[cri.ContainerStatusResponse]: ...
    def ReopenContainerLog(
        self, request: cri.ReopenContainerLogRequest
    ) -> Awaitable[cri.ReopenContainerLogResponse]: ...
    def ExecSync(self, request: cri.ExecSyncRequest) -> Awaitable[cri.ExecSyncResponse]: ...
    def Exec(self, request: cri.ExecRequest) -> Awaitable[cri.ExecResponse]: ...
    def Attach(self, request: cri.AttachRequest) -> Awaitable[cri.AttachResponse]: ...
    def PortForward(
        self, request: cri.PortForwardRequest
    ) -> Awaitable[cri.PortForwardResponse]: ...
    def ListContainerStats(
        self, request: cri.ListContainerStatsRequest
    ) -> Awaitable[cri.ListContainerStatsResponse]: ...
    def ListImages(self, request: cri.ListImagesRequest) -> Awaitable[cri.ListImagesResponse]: ...
    def ImageStatus(
        self, request: cri.ImageStatusRequest
    ) -> Awaitable[cri.ImageStatusResponse]: ...
    def PullImage(self, request: cri.PullImageRequest) -> Awaitable[cri.PullImageResponse]: ...
    def RemoveImage(
        self, request: cri.RemoveImageRequest
    ) -> Awaitable[cri.RemoveImageResponse]: ...
    def ImageFsInfo(
        self, request: cri.ImageFsInfoRequest
    ) -> Awaitable[cri.ImageFsInfoResponse]: ...

    def events(self) -> AsyncIterator[cri.ContainerEventResponse]:
        """GetContainerEvents: events from now on; ends or raises when the runtime goes away."""


_IMAGE_CALLS = frozenset({"ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo"})


class GrpcCri:
    """CRI over gRPC. `endpoint` is `unix:///path` or a plain path."""

    def __init__(self, endpoint: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        target = endpoint if "://" in endpoint else f"unix://{endpoint}"
        self._channel = grpc.aio.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.enable_http_proxy", 0),
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 3000),
            ],
        )
        self._runtime = runtime_v1_pb2_grpc.RuntimeServiceStub(self._channel)
        self._images = runtime_v1_pb2_grpc.ImageServiceStub(self._channel)
        self._timeout_s = timeout_s

    def __getattr__(self, method: str) -> Callable[[Any], Awaitable[Any]]:
        if not method[:1].isupper():
            raise AttributeError(method)
        stub = getattr(self._images if method in _IMAGE_CALLS else self._runtime, method)
        timeout = None if method in _UNBOUNDED else self._timeout_s

        async def call(request: Any) -> Any:
            try:
                return await stub(request, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                raise _translated(error) from None

        setattr(self, method, call)
        return call

    async def events(self) -> AsyncIterator[cri.ContainerEventResponse]:
        try:
            async for event in self._runtime.GetContainerEvents(cri.GetEventsRequest()):
                yield event
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from None

    async def close(self) -> None:
        await self._channel.close(None)


class MemoryCri:
    """CRI by plain calls of a service object that lives in this process.

    `service` has CRI's methods in snake_case (`run_pod_sandbox(request)`), which are awaited, and
    `events()`; `translate` turns its exceptions into (code name, message), or None for a bug.
    """

    def __init__(
        self, service: Any, translate: Callable[[Exception], tuple[str, str] | None]
    ) -> None:
        self._service = service
        self._translate = translate

    def __getattr__(self, method: str) -> Callable[[Any], Awaitable[Any]]:
        if not method[:1].isupper():
            raise AttributeError(method)
        target = getattr(self._service, snake_case(method))

        async def call(request: Any) -> Any:
            try:
                return await target(request)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                known = self._translate(error)
                if known is None:
                    raise
                raise CriError(*known) from None

        setattr(self, method, call)
        return call

    def events(self) -> AsyncIterator[cri.ContainerEventResponse]:
        stream: AsyncIterator[cri.ContainerEventResponse] = self._service.events()
        return stream

    async def close(self) -> None:
        """The service belongs to whoever made it."""


def snake_case(name: str) -> str:
    """`RunPodSandbox` -> `run_pod_sandbox`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _camel(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("_"))


def _translated(error: grpc.aio.AioRpcError) -> CriError:
    return CriError(error.code().name, error.details() or "")
