"""Many nodes in one process: the real kubelet code, each on its own fake runtime in memory.

What a process needs once is shared: one connection, one watch on all assigned Pods, one queue of
status writes, one set of timers, one cache of ConfigMaps and Secrets, and for each service account
one token. What is simulated: the runtime (no containers) and the disk (no files). Heartbeats are
spread over their period.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from kubelet.cri_client import MemoryCri
from kubelet.events import NoEvents, Recorder
from kubelet.kubelet import Kubelet, Shared, Tuning
from kubelet.machine import Machine, Usage
from kubelet.node_object import NodeIdentity
from kubelet.objects import PodObjects, TokenManager
from kubelet.pod_dirs import MemoryPodFiles
from kubelet.pod_sources import ApiPodSource
from kubelet.runtime_config import NodeFacts
from kubelet.services import Services
from kubelet.status_writer import StatusWriter
from kubelet.timers import Timers
from podpath.api import quantity
from podpath.client.event_recorder import EventRecorder
from podpath.client.interface import Client, Selection
from podpath.component_base.clock import Clock
from podpath.hollow.config import Config
from runtime_shim.backends.fake import FakeBackend
from runtime_shim.errors import CriError
from runtime_shim.shim import RuntimeShim

log = logging.getLogger(__name__)

DISK_BYTES = 1 << 40
HEARTBEAT_S = 10.0


def translate(error: Exception) -> tuple[str, str] | None:
    """The runtime's errors as the kubelet knows them."""
    return (error.code.name, error.message) if isinstance(error, CriError) else None


class HollowNodes:
    """The nodes of one process; `async with` starts their runtimes, `run` their kubelets."""

    def __init__(self, settings: Config, client: Client, clock: Clock, rng: random.Random) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._services = Services(client, clock, rng)
        self._events = EventRecorder(client, "kubelet", clock=clock)
        recorder: Recorder = self._events if settings.record_events else NoEvents()
        everybody = Selection(field_selector="spec.nodeName!=")
        self.shared = Shared(
            client=client,
            clock=clock,
            rng=rng,
            timers=Timers(clock),
            status_writer=StatusWriter(client),
            objects=PodObjects(client, clock, TokenManager(client, clock, rng, shared=True)),
            pods=ApiPodSource(client, everybody, clock=clock, rng=rng),
            services=self._services.all,
            recorder=recorder,
        )
        memory = quantity.value(settings.node_memory)
        self._machine = Machine(settings.node_cpus * 1000, memory, DISK_BYTES, kernel="hollow")
        self._usage = Usage(memory, DISK_BYTES, DISK_BYTES, 1 << 20)
        self.kubelets: list[Kubelet] = []

    @property
    def ready(self) -> bool:
        """Whether every node is registered and its runtime answers."""
        return len(self.kubelets) == self._settings.nodes and all(k.ready for k in self.kubelets)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Holds the fake runtimes; kubelets are made but not run."""
        async with AsyncExitStack() as stack:
            for index in range(self._settings.nodes):
                # Addresses of all nodes' Pods differ: a /24 each below 10.64.0.0/10.
                cidr = f"10.{64 + index // 256}.{index % 256}.0/24"
                backend = FakeBackend(self._clock, pod_cidr=cidr, write_logs=False)
                shim = await stack.enter_async_context(RuntimeShim(backend, clock=self._clock))
                self.kubelets.append(self._kubelet(index, MemoryCri(shim, translate)))
            yield

    def _kubelet(self, index: int, runtime: MemoryCri) -> Kubelet:
        settings = self._settings
        name = f"{settings.name_prefix}{settings.first + index}"
        identity = NodeIdentity(
            name=name,
            machine=self._machine,
            addresses=(settings.node_ip,),
            port=10250,
            max_pods=settings.max_pods,
            labels=dict(text.split("=", 1) for text in settings.node_labels),
        )
        facts = NodeFacts(
            name=name,
            cpu_capacity=self._machine.cpu,
            memory_capacity=self._machine.memory,
        )
        tuning = Tuning(
            resync_s=settings.sync_frequency_s,
            lease_duration_s=settings.node_lease_duration_seconds,
            offset_s=HEARTBEAT_S * index / settings.nodes,
            runtime_check_s=30.0,
            housekeeping_s=10.0,
            # Under a backlog rounds are slow, and "being created" is still not worth a write.
            status_linger_s=1.0,
        )
        files = MemoryPodFiles(f"/hollow/{name}")
        return Kubelet(self.shared, runtime, files, identity, facts, lambda: self._usage, tuning)

    async def run(self) -> None:
        """Until cancelled."""
        shared = self.shared
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._services.run(), name="services")
            await self._services.wait_synced()
            for work, name in (
                (self._events.run(), "events"),
                (shared.timers.run(), "timers"),
                (shared.status_writer.run(), "status-writer"),
                (shared.pods.run(), "pods"),
            ):
                tasks.create_task(work, name=name)
            for kubelet in self.kubelets:
                tasks.create_task(kubelet.run(), name=kubelet.name)
