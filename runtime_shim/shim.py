"""RuntimeShim: all of CRI as plain async methods that take and return the proto messages.

The gRPC door (server.py) serves them on a socket; a kubelet in the same process may call them
directly. Requests become part of the records: do not change one after the call.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backend import Backend, Recovered
from runtime_shim.checkpoint import Checkpoints, MemoryCheckpoints
from runtime_shim.events import EventHub
from runtime_shim.rpc import (
    container_checkpoint,
    container_create,
    container_list,
    container_log,
    container_remove,
    container_start,
    container_status,
    container_stop,
    container_update,
    events,
    exec_sync,
    exec_url,
    image_fs,
    image_list,
    image_pull,
    image_remove,
    image_status,
    metrics,
    sandbox_list,
    sandbox_remove,
    sandbox_run,
    sandbox_status,
    sandbox_stop,
    stats,
    version,
)
from runtime_shim.runtime import Runtime, StreamUrls
from runtime_shim.state import SandboxRecord, State

_log = logging.getLogger(__name__)


class RuntimeShim:
    """A CRI service. Use as `async with RuntimeShim(...) as shim`: entering starts the backends,
    reads the journal and finds everything again; leaving stops background work but no container.

    Every method raises CriError(code, message) and nothing else on purpose.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend] | Backend,
        *,
        clock: Clock,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """`backends`: one, or by RuntimeClass handler with "" as the default."""
        self._tasks: asyncio.TaskGroup | None = None
        self._stack = AsyncExitStack()
        self._background: list[asyncio.Task[Any]] = []
        by_handler = backends if isinstance(backends, Mapping) else {"": backends}
        self.runtime = Runtime(
            backends=by_handler,
            checkpoints=checkpoints or MemoryCheckpoints(),
            clock=clock,
            state=State(),
            events=EventHub(),
            spawn=self._spawn,
        )

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.callback(self.runtime.checkpoints.close)
        try:
            await self._recover()
        except BaseException:
            await self._stack.aclose()
            raise
        for backend in _distinct(self.runtime.backends):
            self._background.append(self._tasks.create_task(backend.run(), name="backend"))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._background:
            task.cancel()
        await self._stack.__aexit__(kind, error, traceback)

    def serve_streams(self, streams: StreamUrls) -> None:
        """Lets Exec, Attach and PortForward answer URLs of this streaming server."""
        self.runtime.streams = streams

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        assert self._tasks is not None, "the shim is not entered"
        return self._tasks.create_task(work)

    async def _recover(self) -> None:
        runtime = self.runtime
        for record in runtime.checkpoints.load():
            if isinstance(record, SandboxRecord):
                runtime.state.add_sandbox(record)
            else:
                runtime.state.add_container(record)
        cidr = runtime.checkpoints.notes().get(version.POD_CIDR_NOTE, "")
        for backend in _distinct(runtime.backends):
            await backend.start(runtime)
            if cidr:
                await backend.set_pod_cidr(cidr)
            own = {handler for handler, b in runtime.backends.items() if b is backend}
            sandboxes = [s for s in runtime.state.sandboxes.values() if s.handler in own]
            containers = [c for c in runtime.state.containers.values() if c.handler in own]
            self._apply(await backend.recover(sandboxes, containers))
            if sandboxes or containers:
                found = {"sandboxes": len(sandboxes), "containers": len(containers)}
                _log.info("found again", extra=found)

    def _apply(self, found: Recovered) -> None:
        runtime = self.runtime
        for container_id, started_at in found.started.items():
            record = runtime.state.containers[container_id]
            if not record.started_at:
                record.started_at = started_at
                runtime.save(record)
        for container_id, end in found.exits.items():
            runtime.container_exited(container_id, end)
        for container_id in found.lost:
            record = runtime.state.containers[container_id]
            record.lost = True
            runtime.save(record)
        for sandbox_id in found.stopped_sandboxes:
            runtime.sandbox_stopped(sandbox_id)
        # A sandbox that was being removed may be gone while its containers' records are left.
        for record in list(runtime.state.containers.values()):
            if record.sandbox_id not in runtime.state.sandboxes:
                runtime.state.drop_container(record)
                runtime.checkpoints.delete(record.id)

    # -- RuntimeService --------------------------------------------------------------------------

    async def version(self, request: cri.VersionRequest) -> cri.VersionResponse:
        return await version.version(self.runtime, request)

    async def status(self, request: cri.StatusRequest) -> cri.StatusResponse:
        return await version.status(self.runtime, request)

    async def run_pod_sandbox(self, request: cri.RunPodSandboxRequest) -> cri.RunPodSandboxResponse:
        return await self.runtime.finish(sandbox_run.run_pod_sandbox(self.runtime, request))

    async def stop_pod_sandbox(
        self, request: cri.StopPodSandboxRequest
    ) -> cri.StopPodSandboxResponse:
        return await self.runtime.finish(sandbox_stop.stop_pod_sandbox(self.runtime, request))

    async def remove_pod_sandbox(
        self, request: cri.RemovePodSandboxRequest
    ) -> cri.RemovePodSandboxResponse:
        return await self.runtime.finish(sandbox_remove.remove_pod_sandbox(self.runtime, request))

    async def pod_sandbox_status(
        self, request: cri.PodSandboxStatusRequest
    ) -> cri.PodSandboxStatusResponse:
        return await sandbox_status.pod_sandbox_status(self.runtime, request)

    async def list_pod_sandbox(
        self, request: cri.ListPodSandboxRequest
    ) -> cri.ListPodSandboxResponse:
        return await sandbox_list.list_pod_sandbox(self.runtime, request)

    async def create_container(
        self, request: cri.CreateContainerRequest
    ) -> cri.CreateContainerResponse:
        return await self.runtime.finish(container_create.create_container(self.runtime, request))

    async def start_container(
        self, request: cri.StartContainerRequest
    ) -> cri.StartContainerResponse:
        return await self.runtime.finish(container_start.start_container(self.runtime, request))

    async def stop_container(self, request: cri.StopContainerRequest) -> cri.StopContainerResponse:
        return await self.runtime.finish(container_stop.stop_container(self.runtime, request))

    async def remove_container(
        self, request: cri.RemoveContainerRequest
    ) -> cri.RemoveContainerResponse:
        return await self.runtime.finish(container_remove.remove_container(self.runtime, request))

    async def list_containers(
        self, request: cri.ListContainersRequest
    ) -> cri.ListContainersResponse:
        return await container_list.list_containers(self.runtime, request)

    async def container_status(
        self, request: cri.ContainerStatusRequest
    ) -> cri.ContainerStatusResponse:
        return await container_status.get_container_status(self.runtime, request)

    async def update_container_resources(
        self, request: cri.UpdateContainerResourcesRequest
    ) -> cri.UpdateContainerResourcesResponse:
        return await self.runtime.finish(
            container_update.update_container_resources(self.runtime, request)
        )

    async def reopen_container_log(
        self, request: cri.ReopenContainerLogRequest
    ) -> cri.ReopenContainerLogResponse:
        return await self.runtime.finish(container_log.reopen_container_log(self.runtime, request))

    async def exec_sync(self, request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
        return await exec_sync.exec_sync(self.runtime, request)

    async def exec(self, request: cri.ExecRequest) -> cri.ExecResponse:
        return await exec_url.get_exec(self.runtime, request)

    async def attach(self, request: cri.AttachRequest) -> cri.AttachResponse:
        return await exec_url.get_attach(self.runtime, request)

    async def port_forward(self, request: cri.PortForwardRequest) -> cri.PortForwardResponse:
        return await exec_url.get_port_forward(self.runtime, request)

    async def container_stats(
        self, request: cri.ContainerStatsRequest
    ) -> cri.ContainerStatsResponse:
        return await stats.container_stats(self.runtime, request)

    async def list_container_stats(
        self, request: cri.ListContainerStatsRequest
    ) -> cri.ListContainerStatsResponse:
        return await stats.list_container_stats(self.runtime, request)

    async def pod_sandbox_stats(
        self, request: cri.PodSandboxStatsRequest
    ) -> cri.PodSandboxStatsResponse:
        return await stats.pod_sandbox_stats(self.runtime, request)

    async def list_pod_sandbox_stats(
        self, request: cri.ListPodSandboxStatsRequest
    ) -> cri.ListPodSandboxStatsResponse:
        return await stats.list_pod_sandbox_stats(self.runtime, request)

    async def update_runtime_config(
        self, request: cri.UpdateRuntimeConfigRequest
    ) -> cri.UpdateRuntimeConfigResponse:
        return await self.runtime.finish(version.update_runtime_config(self.runtime, request))

    async def checkpoint_container(
        self, request: cri.CheckpointContainerRequest
    ) -> cri.CheckpointContainerResponse:
        return await container_checkpoint.checkpoint_container(self.runtime, request)

    def get_container_events(
        self, request: cri.GetEventsRequest
    ) -> AsyncIterator[cri.ContainerEventResponse]:
        return events.get_container_events(self.runtime, request)

    async def list_metric_descriptors(
        self, request: cri.ListMetricDescriptorsRequest
    ) -> cri.ListMetricDescriptorsResponse:
        return await metrics.list_metric_descriptors(self.runtime, request)

    async def list_pod_sandbox_metrics(
        self, request: cri.ListPodSandboxMetricsRequest
    ) -> cri.ListPodSandboxMetricsResponse:
        return await metrics.list_pod_sandbox_metrics(self.runtime, request)

    async def runtime_config(self, request: cri.RuntimeConfigRequest) -> cri.RuntimeConfigResponse:
        return await version.runtime_config(self.runtime, request)

    async def update_pod_sandbox_resources(
        self, request: cri.UpdatePodSandboxResourcesRequest
    ) -> cri.UpdatePodSandboxResourcesResponse:
        return await container_update.update_pod_sandbox_resources(self.runtime, request)

    def events(self) -> AsyncIterator[cri.ContainerEventResponse]:
        """GetContainerEvents without its empty request."""
        return events.get_container_events(self.runtime, cri.GetEventsRequest())

    # -- ImageService ------------------------------------------------------------------------------

    async def list_images(self, request: cri.ListImagesRequest) -> cri.ListImagesResponse:
        return await image_list.list_images(self.runtime, request)

    async def image_status(self, request: cri.ImageStatusRequest) -> cri.ImageStatusResponse:
        return await image_status.image_status(self.runtime, request)

    async def pull_image(self, request: cri.PullImageRequest) -> cri.PullImageResponse:
        return await self.runtime.finish(image_pull.pull_image(self.runtime, request))

    async def remove_image(self, request: cri.RemoveImageRequest) -> cri.RemoveImageResponse:
        return await self.runtime.finish(image_remove.remove_image(self.runtime, request))

    async def image_fs_info(self, request: cri.ImageFsInfoRequest) -> cri.ImageFsInfoResponse:
        return await image_fs.image_fs_info(self.runtime, request)


def _distinct(backends: Mapping[str, Backend]) -> list[Backend]:
    return list({id(backend): backend for backend in backends.values()}.values())
