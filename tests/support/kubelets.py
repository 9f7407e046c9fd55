"""A kubelet over the fake runtime and the client in memory, for tests."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kubelet.cri_client import MemoryCri
from kubelet.kubelet import Kubelet, Shared, Tuning
from kubelet.machine import Machine, Usage
from kubelet.node_object import NodeIdentity
from kubelet.objects import PodObjects, TokenManager
from kubelet.pod_dirs import DiskPodFiles, MemoryPodFiles
from kubelet.pod_sources import ApiPodSource, selection_of
from kubelet.runtime_config import NodeFacts
from kubelet.status_writer import StatusWriter
from kubelet.timers import Timers
from podpath.api.scheme import PODS
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import SystemClock
from protos.k8s import core_v1_pb2 as core
from runtime_shim.backends.fake import FakeBackend
from runtime_shim.errors import CriError
from runtime_shim.shim import RuntimeShim

MACHINE = Machine(cpu=4000, memory=8 << 30, disk=100 << 30)
USAGE = Usage(8 << 30, 90 << 30, 100 << 30, 30000)
QUICK = Tuning(housekeeping_s=0.05, status_linger_s=0.0)


class RecordedEvents:
    """A Recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def event_for(
        self, involved: core.ObjectReference, event_type: str, reason: str, message: str
    ) -> None:
        self.events.append((event_type, reason, message))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


class RecordedCri(MemoryCri):
    """Keeps the names of the calls that change something."""

    def __init__(self, shim: RuntimeShim) -> None:
        super().__init__(shim, translate)
        self.calls: list[str] = []

    def __getattr__(self, method):
        call = super().__getattr__(method)
        if method.startswith(("List", "Status")) or method.endswith("Status"):
            return call

        async def recorded(request):
            self.calls.append(method)
            return await call(request)

        setattr(self, method, recorded)
        return recorded


def translate(error: Exception) -> tuple[str, str] | None:
    return (error.code.name, error.message) if isinstance(error, CriError) else None


@dataclass
class Node:
    """One running kubelet and what it runs on."""

    kubelet: Kubelet
    client: MemoryClient
    shim: RuntimeShim
    runtime: RecordedCri
    events: RecordedEvents
    name: str = "node-1"
    writer: StatusWriter | None = None

    async def create(self, pod: core.Pod) -> core.Pod:
        pod.spec.nodeName = self.name
        return await self.client.create(PODS, pod)

    async def pod(self, name: str) -> core.Pod:
        return await self.client.get(PODS, "default", name)


def new_pod(name: str = "web", *, containers: int = 1, **annotations: str) -> core.Pod:
    pod = core.Pod()
    pod.metadata.name, pod.metadata.namespace = name, "default"
    for key, value in annotations.items():
        pod.metadata.annotations[f"fake.podpath.io/{key.replace('_', '-')}"] = value
    for index in range(containers):
        add_container(pod, f"c{index}")
    pod.spec.restartPolicy = "Always"
    pod.spec.terminationGracePeriodSeconds = 30
    return pod


def add_container(pod: core.Pod, name: str, *, init: bool = False) -> core.Container:
    place = pod.spec.initContainers if init else pod.spec.containers
    container = place.add(name=name, image="app:1", imagePullPolicy="IfNotPresent")
    container.terminationMessagePath = "/dev/termination-log"
    container.terminationMessagePolicy = "File"
    return container


@asynccontextmanager
async def running_shim(
    backend: FakeBackend | None = None, *, handlers: tuple[str, ...] = ()
) -> AsyncIterator[RuntimeShim]:
    """With a fake engine of its own for each further RuntimeClass handler."""
    clock = SystemClock()
    backends = {name: FakeBackend(clock, write_logs=False) for name in ("", *handlers)}
    if backend is not None:
        backends[""] = backend
    async with RuntimeShim(backends, clock=clock) as shim:
        yield shim


@asynccontextmanager
async def running_kubelet(
    shim: RuntimeShim,
    client: MemoryClient,
    *,
    root: str = "",
    tuning: Tuning = QUICK,
    name: str = "node-1",
) -> AsyncIterator[Node]:
    clock = SystemClock()
    rng = random.Random(7)
    events = RecordedEvents()
    timers = Timers(clock)
    writer = StatusWriter(client)
    pods = ApiPodSource(client, selection_of(name), clock=clock, rng=rng)
    shared = Shared(
        client=client,
        clock=clock,
        rng=rng,
        timers=timers,
        status_writer=writer,
        objects=PodObjects(client, clock, TokenManager(client, clock, rng)),
        pods=pods,
        services=lambda: (),
        recorder=events,
    )
    runtime = RecordedCri(shim)
    files = DiskPodFiles(root) if root else MemoryPodFiles("/var/lib/kubelet")
    kubelet = Kubelet(
        shared,
        runtime,
        files,
        NodeIdentity(name, MACHINE, ("10.0.0.1",), 10250),
        NodeFacts(name, pod_logs_dir=f"{root}/logs" if root else "/var/log/pods"),
        lambda: USAGE,
        tuning,
    )
    tasks = [
        asyncio.ensure_future(work)
        for work in (timers.run(), writer.run(), pods.run(), kubelet.run())
    ]
    try:
        await eventually(lambda: kubelet.ready, tasks)
        yield Node(kubelet, client, shim, runtime, events, name, writer)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def eventually(
    holds: Callable[[], object], tasks: list[asyncio.Task] = (), timeout_s: float = 60.0
) -> None:
    """Waits until `holds()` is true, or its awaitable is; fails with the task that failed."""
    async with asyncio.timeout(timeout_s):
        while True:
            result = holds()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)
