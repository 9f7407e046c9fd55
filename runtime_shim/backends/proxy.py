"""Another CRI server as the engine: containerd's or CRI-O's own, recorded and fault-injectable.

The shim keeps its records and answers listings; what must happen is passed on. Ids are the
server's. Exits come from its events where it has them, else from asking twice a second.
"""

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Sequence

from podpath.component_base.clock import Clock
from podpath.component_base.streaming.process import ByteStream, Process
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backend import (
    BackendContext,
    ContainerCreated,
    ContainerExit,
    ExecResult,
    Listener,
    Recovered,
    RuntimeInfo,
    SandboxStarted,
)
from runtime_shim.errors import Code, CriError, unimplemented
from runtime_shim.remote_cri import RemoteCri
from runtime_shim.state import EXITED, ContainerRecord, SandboxRecord

_log = logging.getLogger(__name__)

OWNER = "podpath.io/proxied-by"
"""Annotation of what we made: the server may have other callers, whose Pods are not ours."""
POLL_S = 0.5
UNKNOWN_EXIT_CODE = 255


class ProxyBackend:
    """See the module's text."""

    def __init__(self, remote: RemoteCri, clock: Clock, owner: str) -> None:
        self._remote = remote
        self._clock = clock
        self._owner = owner
        self._listener: Listener | None = None
        self._watched: set[str] = set()  # running containers
        self._sandbox_ids: set[str] = set()

    # -- life --------------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        self._remote.open()
        await self._remote.call("Version", cri.VersionRequest())

    async def recover(
        self, sandboxes: Sequence[SandboxRecord], containers: Sequence[ContainerRecord]
    ) -> Recovered:
        listed = await self._remote.call("ListPodSandbox", cri.ListPodSandboxRequest())
        ready = {s.id for s in listed.items if s.state == cri.SANDBOX_READY}
        known = {s.id for s in sandboxes}
        for sandbox in listed.items:
            if sandbox.annotations.get(OWNER) == self._owner and sandbox.id not in known:
                await self._remove_sandbox(sandbox.id)
        started: dict[str, int] = {}
        exits: dict[str, ContainerExit] = {}
        found = await self._remote.call("ListContainers", cri.ListContainersRequest())
        there = {c.id for c in found.containers}
        for container in found.containers:
            if container.pod_sandbox_id in known and not any(
                c.id == container.id for c in containers
            ):
                request = cri.RemoveContainerRequest(container_id=container.id)
                await self._remote.call("RemoveContainer", request)
        for record in containers:
            if record.state == EXITED:
                continue
            status = await self._status(record.id) if record.id in there else None
            if status is None or status.state in (cri.CONTAINER_EXITED, cri.CONTAINER_UNKNOWN):
                exits[record.id] = self._exit_of(status)
            elif status.state == cri.CONTAINER_RUNNING:
                started[record.id] = status.started_at
                self._watched.add(record.id)
        self._sandbox_ids |= known & ready
        return Recovered(started, exits, stopped_sandboxes=frozenset(known - ready))

    async def run(self) -> None:
        """Notices exits until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_events(), name="events")
                tasks.create_task(self._poll(), name="poll")
        finally:
            await asyncio.shield(self._remote.close())

    async def info(self) -> RuntimeInfo:
        version = await self._remote.call("Version", cri.VersionRequest())
        status = await self._remote.call("Status", cri.StatusRequest())
        default = next((h for h in status.runtime_handlers if not h.name), cri.RuntimeHandler())
        problems = {c.type: c.message or c.reason for c in status.status.conditions if not c.status}
        return RuntimeInfo(
            name=f"podpath-proxy-{version.runtime_name}",
            version=version.runtime_version,
            runtime_problem=problems.get("RuntimeReady", ""),
            network_problem=problems.get("NetworkReady", ""),
            supplemental_groups_policy=status.features.supplemental_groups_policy,
            recursive_read_only_mounts=default.features.recursive_read_only_mounts,
        )

    async def set_pod_cidr(self, cidr: str) -> None:
        request = cri.UpdateRuntimeConfigRequest()
        request.runtime_config.network_config.pod_cidr = cidr
        await self._remote.call("UpdateRuntimeConfig", request)

    # -- sandboxes ---------------------------------------------------------------------------------

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str) -> SandboxStarted:
        """`handler` chose this backend; the server itself is asked for its default runtime."""
        marked = cri.PodSandboxConfig()
        marked.CopyFrom(config)
        marked.annotations[OWNER] = self._owner
        request = cri.RunPodSandboxRequest(config=marked)
        sandbox_id: str = (await self._remote.call("RunPodSandbox", request)).pod_sandbox_id
        status = (
            await self._remote.call(
                "PodSandboxStatus", cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
            )
        ).status
        ips = [status.network.ip, *(p.ip for p in status.network.additional_ips)]
        self._sandbox_ids.add(sandbox_id)
        return SandboxStarted(sandbox_id, tuple(ip for ip in ips if ip))

    async def stop_sandbox(self, sandbox: SandboxRecord) -> None:
        self._sandbox_ids.discard(sandbox.id)
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox.id)
        await self._gone_is_fine("StopPodSandbox", request)

    async def remove_sandbox(self, sandbox: SandboxRecord) -> None:
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id)
        await self._gone_is_fine("RemovePodSandbox", request)

    # -- containers --------------------------------------------------------------------------------

    async def create_container(
        self, sandbox: SandboxRecord, config: cri.ContainerConfig, image: cri.Image, log_path: str
    ) -> ContainerCreated:
        request = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox.id, config=config, sandbox_config=sandbox.config
        )
        return ContainerCreated((await self._remote.call("CreateContainer", request)).container_id)

    async def start_container(self, sandbox: SandboxRecord, container: ContainerRecord) -> int:
        request = cri.StartContainerRequest(container_id=container.id)
        await self._remote.call("StartContainer", request)
        self._watched.add(container.id)
        status = await self._status(container.id)
        if status is None:
            return int(self._clock.now().timestamp() * 1e9)
        if status.HasField("user"):
            user = status.user.linux
            groups = ",".join(str(gid) for gid in user.supplemental_groups)
            container.engine["user"] = f"{user.uid}:{user.gid}:{groups}"
        return status.started_at

    async def stop_container(self, container: ContainerRecord, grace_s: float) -> None:
        request = cri.StopContainerRequest(container_id=container.id, timeout=int(grace_s))
        await self._gone_is_fine("StopContainer", request, extra_s=grace_s)
        self._tell(container.id, await self._status(container.id))

    async def remove_container(self, container: ContainerRecord) -> None:
        self._watched.discard(container.id)
        request = cri.RemoveContainerRequest(container_id=container.id)
        await self._gone_is_fine("RemoveContainer", request)

    async def exec_sync(
        self, container: ContainerRecord, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        request = cri.ExecSyncRequest(
            container_id=container.id, cmd=command, timeout=int(timeout_s)
        )
        answer = await self._remote.call("ExecSync", request, extra_s=timeout_s)
        return ExecResult(answer.stdout, answer.stderr, answer.exit_code)

    async def exec(
        self, container: ContainerRecord, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Process:
        raise unimplemented("exec: the engine's own streaming server serves it")

    async def attach(self, container: ContainerRecord, *, stdin: bool) -> Process:
        raise unimplemented("attach: the engine's own streaming server serves it")

    async def port_forward(self, sandbox: SandboxRecord, port: int) -> ByteStream:
        raise unimplemented("port-forward: the engine's own streaming server serves it")

    async def exec_url(self, request: cri.ExecRequest) -> str:
        url: str = (await self._remote.call("Exec", request)).url
        return url

    async def attach_url(self, request: cri.AttachRequest) -> str:
        url: str = (await self._remote.call("Attach", request)).url
        return url

    async def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        url: str = (await self._remote.call("PortForward", request)).url
        return url

    async def reopen_log(self, container: ContainerRecord) -> None:
        request = cri.ReopenContainerLogRequest(container_id=container.id)
        await self._remote.call("ReopenContainerLog", request)

    async def update_resources(
        self, container: ContainerRecord, resources: cri.LinuxContainerResources
    ) -> None:
        request = cri.UpdateContainerResourcesRequest(container_id=container.id, linux=resources)
        await self._remote.call("UpdateContainerResources", request)

    async def container_stats(self, container: ContainerRecord) -> cri.ContainerStats:
        request = cri.ContainerStatsRequest(container_id=container.id)
        stats: cri.ContainerStats = (await self._remote.call("ContainerStats", request)).stats
        return stats

    async def sandbox_stats(self, sandbox: SandboxRecord) -> cri.LinuxPodSandboxStats:
        request = cri.PodSandboxStatsRequest(pod_sandbox_id=sandbox.id)
        linux: cri.LinuxPodSandboxStats
        linux = (await self._remote.call("PodSandboxStats", request)).stats.linux
        del linux.containers[:]
        return linux

    # -- images ------------------------------------------------------------------------------------

    async def images(self) -> Sequence[cri.Image]:
        listed = await self._remote.call("ListImages", cri.ListImagesRequest())
        images: Sequence[cri.Image] = listed.images
        return images

    async def image(self, reference: str) -> cri.Image | None:
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=reference))
        answer = await self._remote.call("ImageStatus", request)
        return answer.image if answer.HasField("image") else None

    async def pull_image(
        self, spec: cri.ImageSpec, auth: cri.AuthConfig, sandbox: cri.PodSandboxConfig
    ) -> str:
        request = cri.PullImageRequest(image=spec, auth=auth, sandbox_config=sandbox)
        reference: str = (await self._remote.call("PullImage", request)).image_ref
        return reference

    async def remove_image(self, image: cri.Image) -> None:
        request = cri.RemoveImageRequest(image=cri.ImageSpec(image=image.id))
        await self._remote.call("RemoveImage", request)

    async def image_fs(self) -> cri.ImageFsInfoResponse:
        info: cri.ImageFsInfoResponse
        info = await self._remote.call("ImageFsInfo", cri.ImageFsInfoRequest())
        return info

    # -- exits -------------------------------------------------------------------------------------

    async def _follow_events(self) -> None:
        try:
            async for event in self._remote.events():
                stopped = event.container_event_type == cri.CONTAINER_STOPPED_EVENT
                if stopped and event.container_id in self._watched:
                    self._tell(event.container_id, await self._status(event.container_id))
        except CriError as error:
            _log.info("no events from the engine; it is polled", extra={"why": error.message})

    async def _poll(self) -> None:
        while True:
            await self._clock.sleep(POLL_S)
            if not self._watched and not self._sandbox_ids:
                continue
            with contextlib.suppress(CriError):
                await self._compare()

    async def _compare(self) -> None:
        found = await self._remote.call("ListContainers", cri.ListContainersRequest())
        running = {c.id for c in found.containers if c.state == cri.CONTAINER_RUNNING}
        for container_id in self._watched - running:
            self._tell(container_id, await self._status(container_id))
        listed = await self._remote.call("ListPodSandbox", cri.ListPodSandboxRequest())
        ready = {s.id for s in listed.items if s.state == cri.SANDBOX_READY}
        for sandbox_id in self._sandbox_ids - ready:
            self._sandbox_ids.discard(sandbox_id)
            assert self._listener is not None, "start() comes first"
            self._listener.sandbox_stopped(sandbox_id)

    def _tell(self, container_id: str, status: cri.ContainerStatus | None) -> None:
        if status is not None and status.state == cri.CONTAINER_RUNNING:
            return
        self._watched.discard(container_id)
        assert self._listener is not None, "start() comes first"
        self._listener.container_exited(container_id, self._exit_of(status))

    def _exit_of(self, status: cri.ContainerStatus | None) -> ContainerExit:
        if status is None or not status.finished_at:
            now = int(self._clock.now().timestamp() * 1e9)
            return ContainerExit(now, UNKNOWN_EXIT_CODE, "Unknown")
        return ContainerExit(status.finished_at, status.exit_code, status.reason, status.message)

    # -- below -------------------------------------------------------------------------------------

    async def _status(self, container_id: str) -> cri.ContainerStatus | None:
        request = cri.ContainerStatusRequest(container_id=container_id)
        try:
            status: cri.ContainerStatus
            status = (await self._remote.call("ContainerStatus", request)).status
        except CriError as error:
            if error.code is Code.NOT_FOUND:
                return None
            raise
        return status

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        stop = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._gone_is_fine("StopPodSandbox", stop)
        remove = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._gone_is_fine("RemovePodSandbox", remove)

    async def _gone_is_fine(
        self,
        rpc: str,
        request: (
            cri.StopPodSandboxRequest
            | cri.RemovePodSandboxRequest
            | cri.StopContainerRequest
            | cri.RemoveContainerRequest
        ),
        extra_s: float = 0,
    ) -> None:
        try:
            await self._remote.call(rpc, request, extra_s=extra_s)
        except CriError as error:
            if error.code is not Code.NOT_FOUND:
                raise


def create(context: BackendContext) -> ProxyBackend:
    """The entry point `proxy`."""
    options = context.options
    remote = RemoteCri(
        options["proxy_endpoint"],
        context.clock,
        record=options["proxy_record"],
        faults=options["proxy_faults"],
        dice=random.Random(),
    )
    owner = hashlib.sha256(str(context.state_dir).encode()).hexdigest()[:16]
    return ProxyBackend(remote, context.clock, owner)
