"""The kubelet: its parts put together, and the order in which it starts.

Source: pkg/kubelet/kubelet.go (NewMainKubelet, Run).
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from kubelet.backoff import Backoff
from kubelet.container_gc import ContainerGc
from kubelet.container_killer import ContainerKiller
from kubelet.container_log_manager import ContainerLogManager, LogPolicy
from kubelet.cri_client import Cri, CriError
from kubelet.events import PodEvents, Recorder
from kubelet.images import Images
from kubelet.lifecycle_hooks import LifecycleHooks
from kubelet.machine import Usage
from kubelet.node_lease import NodeLease
from kubelet.node_object import NodeHealth, NodeIdentity
from kubelet.node_status import NodeStatus
from kubelet.objects import PodObjects
from kubelet.pleg import Pleg
from kubelet.pod_admission import NodeOffer, allocatable_of
from kubelet.pod_dirs import PodFiles
from kubelet.pod_record import PodRecord
from kubelet.pod_sources import PodSource
from kubelet.pod_workers import PodWorkers
from kubelet.probes.network import NetworkProbes
from kubelet.probes.prober import ProbeParts, Prober
from kubelet.probes.results import Results
from kubelet.runtime_config import NodeFacts
from kubelet.runtime_manager import RuntimeManager, RuntimeParts
from kubelet.runtime_state import RuntimeState
from kubelet.runtime_status import RUNNING
from kubelet.status_manager import StatusManager
from kubelet.status_writer import StatusWriter
from kubelet.sync_loop import Forgetting, SyncLoop
from kubelet.sync_pod import PodSync, SyncParts
from kubelet.timers import Timers
from kubelet.volumes import Volumes
from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What simulated nodes of one process have in common; a real node has one of each."""

    client: Client
    clock: Clock
    rng: random.Random
    timers: Timers
    status_writer: StatusWriter
    objects: PodObjects
    pods: PodSource
    services: Callable[[], tuple[core.Service, ...]]
    recorder: Recorder
    network: NetworkProbes = field(default_factory=NetworkProbes)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Periods in seconds; the defaults are upstream's."""

    resync_s: float = 60.0
    housekeeping_s: float = 2.0
    status_update_s: float = 10.0
    status_report_s: float = 300.0
    lease_duration_s: int = 40
    status_linger_s: float = 0.1
    offset_s: float = 0.0
    parallel_pulls: bool = False
    runtime_check_s: float = 5.0
    # None: logs are not rotated, as on simulated nodes, which have none.
    logs: LogPolicy | None = None


class Kubelet:
    """One node. `run()` returns only by cancellation or failure."""

    def __init__(
        self,
        shared: Shared,
        runtime: Cri,
        files: PodFiles,
        identity: NodeIdentity,
        facts: NodeFacts,
        usage: Callable[[], Usage],
        tuning: Tuning = Tuning(),
    ) -> None:
        self._shared = shared
        self._tuning = tuning
        self._tasks: asyncio.TaskGroup | None = None
        self._files = files
        clock = shared.clock
        self.name = identity.name
        self.runtime = runtime
        self.events = PodEvents(shared.recorder)
        self.runtime_state = RuntimeState(runtime, clock, tuning.runtime_check_s)
        self._usage = usage
        self._offered: NodeOffer | None = None
        self._facts = replace(facts, name=identity.name, host_ips=identity.addresses)
        self.pleg = Pleg(runtime, clock, self._runtime_changed)
        self.results = Results(self._runtime_changed)
        hooks = LifecycleHooks(runtime, shared.network, clock)
        killer = ContainerKiller(runtime, hooks, self.events, clock)
        crashes, pulls = Backoff(clock), Backoff(clock)
        images = Images(runtime, self.events, pulls, clock, parallel=tuning.parallel_pulls)
        parts = RuntimeParts(runtime, images, hooks, self.events, files, killer, crashes, clock)
        self.manager = RuntimeManager(parts, self._facts)
        self.statuses = StatusManager(
            shared.client,
            shared.status_writer,
            shared.timers,
            clock,
            self._spawn,
            tuning.status_linger_s,
        )
        volumes = Volumes(files, shared.objects, clock)
        probe_parts = ProbeParts(
            runtime, shared.network, self.results, self.events, clock, shared.rng
        )
        self.prober = Prober(probe_parts, self.pleg.get)
        gc = ContainerGc(runtime, self.pleg, files, self._facts.container_logs_dir)
        sync = PodSync(
            SyncParts(
                pleg=self.pleg,
                runtime=self.manager,
                killer=killer,
                statuses=self.statuses,
                objects=shared.objects,
                volumes=volumes,
                files=files,
                results=self.results,
                events=self.events,
                clock=clock,
            ),
            offer=self._offer,
            refresh_node=lambda: self.node_status.refresh(),
            active=lambda: self.workers.active(),
            services=shared.services,
            start_probes=self._start_probes,
            runtime_name=lambda: self.runtime_state.name,
        )
        forgetting = Forgetting(
            gc,
            files,
            volumes,
            self.statuses,
            self.prober,
            (crashes, pulls),
            self._facts.pod_logs_dir,
            self._spawn,
        )
        self.workers = PodWorkers(
            sync,
            shared.timers,
            clock,
            shared.rng,
            spawn=self._spawn,
            forgotten=forgetting.forget,
            stopping=self._stopping,
            resync_s=tuning.resync_s,
        )
        self.loop = SyncLoop(
            self.workers, self.pleg, self.statuses, gc, files, clock, tuning.housekeeping_s
        )
        self.node_status = NodeStatus(
            shared.client,
            clock,
            identity,
            self._health,
            update_s=tuning.status_update_s,
            report_s=tuning.status_report_s,
            offset_s=tuning.offset_s,
        )
        self.lease = NodeLease(
            shared.client,
            clock,
            identity.name,
            lambda: self.node_status.node,
            duration_s=tuning.lease_duration_s,
            offset_s=tuning.offset_s,
        )

    @property
    def ready(self) -> bool:
        """Whether the node is registered and its runtime was listed."""
        return self.node_status.node is not None and self.pleg.listed.is_set()

    async def run(self) -> None:
        """1 runtime checks · 2 register · 3 heartbeat, PLEG · 4 Pods · 5 housekeeping."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            # 1
            await self.runtime_state.connect()
            if self.runtime_state.systemd_cgroups is not None:
                systemd = self.runtime_state.systemd_cgroups
                self.manager.node = replace(self.manager.node, systemd_cgroups=systemd)
            # 2
            tasks.create_task(self.pleg.run(), name="pleg")
            await self.pleg.listed.wait()
            await self.node_status.register()
            # 3
            tasks.create_task(self.runtime_state.run(), name="runtime-state")
            tasks.create_task(self.lease.run(), name="node-lease")
            tasks.create_task(self.node_status.run(), name="node-status")
            # 4
            self._shared.pods.subscribe(self.name, self.loop)
            await self._shared.pods.wait_synced()
            # 5
            tasks.create_task(self.loop.housekeeping(), name="housekeeping")
            if self._tuning.logs is not None:
                logs = ContainerLogManager(
                    self.runtime, self._running_containers, self._tuning.logs, self._shared.clock
                )
                tasks.create_task(logs.run(), name="container-logs")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None, "the kubelet does not run"
        return self._tasks.create_task(work)

    def _running_containers(self) -> list[cri.ContainerStatus]:
        pods = (self.pleg.get(uid) for uid in self.pleg.uids())
        return [c for pod in pods for c in pod.containers if c.state == RUNNING]

    def _runtime_changed(self, uid: str) -> None:
        self.loop.runtime_changed(uid)

    def _start_probes(self, pod: core.Pod) -> None:
        if self._tasks is not None:
            self.prober.add_pod(pod, self._tasks)

    def _stopping(self, record: PodRecord) -> None:
        self.prober.stop_liveness_and_startup(record.uid)

    def _offer(self) -> NodeOffer:
        node = self.node_status.node
        assert node is not None, "Pods come after the registration"
        if self._offered is None or self._offered.node is not node:
            self._offered = NodeOffer(node, allocatable_of(node))
        return self._offered

    async def _health(self) -> NodeHealth:
        problems = [p for p in (*self.runtime_state.problems, self.pleg.problem()) if p]
        images: list[cri.Image] = []
        try:
            images = list((await self.runtime.ListImages(cri.ListImagesRequest())).images)
        except CriError as error:
            log.warning("images not listed", extra={"error": str(error)})
        return NodeHealth(tuple(problems), self._usage(), self.runtime_state.version, images)
