"""Shims for tests: requests in short form, and the fake in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backends.fake import FakeBackend
from runtime_shim.checkpoint import Checkpoints
from runtime_shim.shim import RuntimeShim
from runtime_shim.state import ContainerRecord, SandboxRecord

IMAGE = "docker.io/podpath/busybox:latest"


def sandbox_config(
    name: str = "pod",
    *,
    annotations: Mapping[str, str] | None = None,
    log_directory: str = "",
    pid: "cri.NamespaceMode" = cri.CONTAINER,
    attempt: int = 0,
) -> cri.PodSandboxConfig:
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=name, namespace="default", uid=f"uid-{name}", attempt=attempt
        ),
        hostname=name,
        log_directory=log_directory,
        labels={"app": name},
        annotations=annotations or {},
    )
    config.linux.security_context.namespace_options.pid = pid
    return config


def container_config(
    name: str = "main",
    *command: str,
    annotations: Mapping[str, str] | None = None,
    attempt: int = 0,
    image: str = IMAGE,
) -> cri.ContainerConfig:
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name, attempt=attempt),
        image=cri.ImageSpec(image=image),
        command=command or ("sleep", "1000"),
        log_path=f"{name}/{attempt}.log",
        labels={"part": name},
        annotations=annotations or {},
    )
    config.linux.security_context.namespace_options.pid = cri.CONTAINER
    return config


@asynccontextmanager
async def fake_shim(
    clock: Clock, checkpoints: Checkpoints | None = None, *, write_logs: bool = False
) -> AsyncIterator[RuntimeShim]:
    """A fake shim in memory that has IMAGE."""
    backend = FakeBackend(clock, pod_cidr="10.1.0.0/24", write_logs=write_logs)
    async with RuntimeShim(backend, clock=clock, checkpoints=checkpoints) as shim:
        await shim.pull_image(cri.PullImageRequest(image=cri.ImageSpec(image=IMAGE)))
        yield shim


class Cri:
    """A caller's view of a shim: a few calls in short form, over any stub or RuntimeShim."""

    def __init__(self, service: object, images: object) -> None:
        self.service = service
        self.images = images

    async def call(self, name: str, request: object) -> object:
        owner = self.images if hasattr(cri, f"{name}Request") and "Image" in name else self.service
        return await getattr(owner, name)(request)

    async def run_sandbox(self, config: cri.PodSandboxConfig) -> str:
        response = await self.service.RunPodSandbox(cri.RunPodSandboxRequest(config=config))
        return response.pod_sandbox_id

    async def create(
        self, sandbox_id: str, config: cri.ContainerConfig, sandbox: cri.PodSandboxConfig
    ) -> str:
        request = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox
        )
        return (await self.service.CreateContainer(request)).container_id

    async def start(self, container_id: str) -> None:
        await self.service.StartContainer(cri.StartContainerRequest(container_id=container_id))

    async def stop(self, container_id: str, timeout: int = 0) -> None:
        request = cri.StopContainerRequest(container_id=container_id, timeout=timeout)
        await self.service.StopContainer(request)

    async def remove(self, container_id: str) -> None:
        await self.service.RemoveContainer(cri.RemoveContainerRequest(container_id=container_id))

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self.service.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.service.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def status(self, container_id: str) -> cri.ContainerStatus:
        request = cri.ContainerStatusRequest(container_id=container_id)
        return (await self.service.ContainerStatus(request)).status

    async def sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        return (await self.service.PodSandboxStatus(request)).status

    async def containers(self) -> Sequence[cri.Container]:
        return (await self.service.ListContainers(cri.ListContainersRequest())).containers

    async def sandboxes(self) -> Sequence[cri.PodSandbox]:
        return (await self.service.ListPodSandbox(cri.ListPodSandboxRequest())).items

    async def running(
        self, sandbox: cri.PodSandboxConfig, config: cri.ContainerConfig
    ) -> tuple[str, str]:
        """A sandbox with one started container: their ids."""
        sandbox_id = await self.run_sandbox(sandbox)
        container_id = await self.create(sandbox_id, config, sandbox)
        await self.start(container_id)
        return sandbox_id, container_id

    async def exec_sync(self, container_id: str, *words: str) -> cri.ExecSyncResponse:
        return await self.service.ExecSync(
            cri.ExecSyncRequest(container_id=container_id, cmd=words)
        )

    async def exited(self, container_id: str, within_s: float = 60.0) -> cri.ContainerStatus:
        """Its status once it has ended."""
        async with asyncio.timeout(within_s):
            while True:
                status = await self.status(container_id)
                if status.state == cri.CONTAINER_EXITED:
                    return status
                await asyncio.sleep(0.02)

    async def empty(self) -> None:
        """Removes every sandbox."""
        for sandbox in await self.sandboxes():
            await self.stop_sandbox(sandbox.id)
            await self.remove_sandbox(sandbox.id)


class InMemory:
    """A RuntimeShim under CRI's own method names, as a stub has them."""

    def __init__(self, shim: RuntimeShim) -> None:
        self._shim = shim

    def __getattr__(self, name: str) -> object:
        from runtime_shim.server import method_name

        return getattr(self._shim, method_name(name))


def in_memory(shim: RuntimeShim) -> Cri:
    return Cri(InMemory(shim), InMemory(shim))


def container(
    container_id: str = "c1", sandbox_id: str = "s1", **moments: object
) -> ContainerRecord:
    record = ContainerRecord(
        id=container_id,
        sandbox_id=sandbox_id,
        config=container_config(container_id),
        handler="",
        image_id="i",
        image_ref="i",
        log_path="",
        created_at=1,
    )
    for name, value in moments.items():
        setattr(record, name, value)
    return record


def sandbox(sandbox_id: str = "s1") -> SandboxRecord:
    return SandboxRecord(sandbox_id, sandbox_config(sandbox_id), "", created_at=1)
