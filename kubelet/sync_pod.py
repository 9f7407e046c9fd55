"""One round for one Pod: what its worker does each time something about it changed.

Source: pkg/kubelet/kubelet.go (SyncPod, SyncTerminatingPod, SyncTerminatedPod).
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from kubelet import termination_message
from kubelet.container_killer import ContainerKiller
from kubelet.container_statuses import ContainerFacts
from kubelet.cri_client import CriError
from kubelet.environment import ContainerConfigError, EnvironmentInput, references
from kubelet.events import WARNING, PodEvents
from kubelet.objects import PodObjects
from kubelet.pleg import Pleg
from kubelet.pod_actions import ProbeOutcomes, compute_pod_actions
from kubelet.pod_admission import REJECTED, NodeOffer, admit
from kubelet.pod_dirs import PodFiles
from kubelet.pod_record import PodRecord, PodState
from kubelet.pod_status import TERMINAL, StatusInput, Verdict, generate
from kubelet.probes.results import Results
from kubelet.runtime_config import container_hashes, pod_log_directory
from kubelet.runtime_manager import PodInputs, RuntimeManager
from kubelet.runtime_status import EXITED, RUNNING, RuntimePodStatus
from kubelet.status_manager import StatusManager
from kubelet.volume_payload import VolumeError
from kubelet.volumes import Volumes
from podpath.api.errors import ApiError
from podpath.component_base.clock import Clock
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)

# So long the runtime's events about our own calls are awaited before it is asked.
EVENTS_WAIT_S = 1.0
# Volumes that show objects of the API are looked at again this often.
REFRESH_VOLUMES_S = 60.0
DEADLINE_REASON = "DeadlineExceeded"
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class SyncFailed(Exception):
    """The round could not be finished; the worker backs off and tries again."""


@dataclass(frozen=True, slots=True)
class SyncParts:
    """What a round works with."""

    pleg: Pleg
    runtime: RuntimeManager
    killer: ContainerKiller
    statuses: StatusManager
    objects: PodObjects
    volumes: Volumes
    files: PodFiles
    results: Results
    events: PodEvents
    clock: Clock


class PodSync:
    """Rounds for the Pods of one node."""

    def __init__(
        self,
        parts: SyncParts,
        *,
        offer: Callable[[], NodeOffer],
        refresh_node: Callable[[], Awaitable[None]],
        active: Callable[[], Iterable[PodRecord]],
        services: Callable[[], tuple[core.Service, ...]],
        start_probes: Callable[[core.Pod], None],
        runtime_name: Callable[[], str],
    ) -> None:
        """`active` are the Pods that the node has admitted and that have not ended;
        `refresh_node` makes `offer` that of the newest Node. Raises: ApiError."""
        self._parts = parts
        self._offer = offer
        self._refresh_node = refresh_node
        self._active = active
        self._services = services
        self._start_probes = start_probes
        self._runtime_name = runtime_name

    async def current(self, record: PodRecord, *, fresh: bool = False) -> RuntimePodStatus:
        """The runtime's state of the Pod, in which all our own calls show. Raises: CriError."""
        status = self._parts.pleg.get(record.uid)
        if fresh or record.uncertain or not record.settled(status):
            status = await self._parts.pleg.inspect(record.uid)
            record.expected.clear()
            record.uncertain = False
        return status

    async def sync(self, record: PodRecord) -> float | None:
        """1 admit · 2 status · 3 directories and volumes · 4 decide · 5 do · 6 probes.

        Returns in how many seconds the next round is due at the latest; None: when the usual
        resync is. Raises: SyncFailed, Interrupted.
        """
        parts, pod = self._parts, record.pod
        # 1
        if not record.admitted and not await self._admit(record):
            return 0.0
        if self._awaits_events(record):
            return EVENTS_WAIT_S
        try:
            status = await self.current(record)
            # 2
            self._check_deadline(record)
            if not self._report_or_postpone(record, status):
                record.state = PodState.TERMINATING
                return 0.0
            # 4, which tells whether 3 is needed
            actions = compute_pod_actions(
                pod,
                status,
                ProbeOutcomes(parts.results.startup, parts.results.liveness),
                container_hashes(pod),
            )
            stale = parts.clock.monotonic() - record.paths_at >= REFRESH_VOLUMES_S
            if actions.is_nothing and not (stale and record.pod.spec.volumes):
                self._start_probes(pod)
                return self._until_deadline(record)
            # 3
            inputs = await self._prepare(record, status)
            # 5
            retry = await parts.runtime.sync(record, status, actions, inputs)
        except (CriError, ApiError, OSError, ContainerConfigError) as error:
            record.uncertain = True
            raise SyncFailed(str(error)) from error
        if record.failures:
            self._report(record, parts.pleg.get(record.uid))
        # 6
        self._start_probes(pod)
        return retry

    def _awaits_events(self, record: PodRecord) -> bool:
        """While events flow, what our own calls did is told soon: no need to ask for it."""
        pleg, now = self._parts.pleg, self._parts.clock.monotonic()
        if record.uncertain or not pleg.events_flow or record.settled(pleg.get(record.uid)):
            record.awaiting_since = None
            return False
        if record.awaiting_since is None:
            record.awaiting_since = now
        return now - record.awaiting_since < EVENTS_WAIT_S

    def _report_or_postpone(self, record: PodRecord, status: RuntimePodStatus) -> bool:
        """Tells the status; False when it says that the Pod has ended.

        The first one, that containers are being made, is mostly overtaken by the next: it is only
        made when that lets itself be waited for.
        """
        if not record.reported and not status.sandboxes and record.verdict is None:

            def call() -> None:
                if not record.reported and record.state is PodState.SYNCING:
                    self._report(record, self._parts.pleg.get(record.uid))

            self._parts.statuses.soon(call)
            return True
        api_status = self._report(record, status)
        return record.verdict is None and api_status.phase not in TERMINAL

    async def terminate(self, record: PodRecord) -> None:
        """Stops everything, gracefully. Raises: SyncFailed, Interrupted."""
        try:
            status = await self.current(record, fresh=record.interrupted)
            record.interrupted = False
            self._report(record, status)
            if status.sandboxes or status.containers:
                await self._parts.killer.kill_pod(record, status)
                status = await self.current(record, fresh=True)
        except (CriError, ApiError, OSError) as error:
            raise SyncFailed(str(error)) from error
        alive = [c.id for c in status.containers if c.state == RUNNING]
        if alive:
            raise SyncFailed(f"containers still run after they were stopped: {alive}")
        self._report(record, status)
        record.state = PodState.TERMINATED

    def finish(self, record: PodRecord) -> None:
        """The last status; the Pod may leave the API server after it."""
        if not record.wanted:
            return
        if record.final:
            api_status = self._parts.statuses.known(record.pod)
        else:
            status = self._parts.pleg.get(record.uid)
            api_status = self._generate(record, status, terminal=True)
            record.final = True
        self._parts.statuses.finish(record.pod, api_status)

    async def _admit(self, record: PodRecord) -> bool:
        """Raises: SyncFailed."""
        verdict = self._judge(record)
        if verdict is not None:
            # Whoever assigned the Pod may have seen a newer Node: a label, a taint that is gone.
            try:
                await self._refresh_node()
            except ApiError as error:
                raise SyncFailed(f"the Node cannot be read: {error}") from error
            verdict = self._judge(record)
        if verdict is None:
            record.admitted = True
            return True
        record.verdict = replace(verdict, message=REJECTED + verdict.message)
        self._parts.events.pod(record.pod, WARNING, verdict.reason, verdict.message)
        self._report(record, self._parts.pleg.get(record.uid))
        record.state = PodState.TERMINATING
        return False

    def _judge(self, record: PodRecord) -> Verdict | None:
        if self._parts.pleg.get(record.uid).containers:
            return None  # it was admitted before a restart of the kubelet
        others = [other.resident for other in self._active() if other is not record]
        return admit(record.pod, record.resident, others, self._offer())

    def _check_deadline(self, record: PodRecord) -> None:
        remaining = self._until_deadline(record)
        if remaining is not None and remaining <= 0 and record.verdict is None:
            record.verdict = Verdict(DEADLINE_REASON, DEADLINE_MESSAGE)
            self._parts.events.pod(record.pod, "Normal", DEADLINE_REASON, DEADLINE_MESSAGE)

    def _until_deadline(self, record: PodRecord) -> float | None:
        spec = record.pod.spec
        started = self._parts.statuses.known(record.pod)
        if not spec.HasField("activeDeadlineSeconds") or not started.HasField("startTime"):
            return None
        elapsed = self._parts.clock.now().timestamp() - started.startTime.seconds
        return spec.activeDeadlineSeconds - elapsed

    async def _prepare(self, record: PodRecord, status: RuntimePodStatus) -> PodInputs:
        """Directories, volumes, and what variables are made from."""
        parts, pod = self._parts, record.pod
        node = parts.runtime.node
        parts.files.make_pod(record.uid, pod_log_directory(node.pod_logs_dir, pod))
        config_maps: set[str] = set()
        secrets: set[str] = set()
        for container in (*pod.spec.initContainers, *pod.spec.containers):
            if container.envFrom or container.env:
                needed = references(container)
                config_maps |= needed[0]
                secrets |= needed[1]
        found_maps, found_secrets = await parts.objects.for_environment(
            pod.metadata.namespace, config_maps, secrets
        )
        given = EnvironmentInput(
            pod=pod,
            pod_ips=tuple(status.ips),
            host_ips=node.host_ips,
            services=self._services(),
            config_maps=found_maps,
            secrets=found_secrets,
            node_cpu=node.cpu_capacity,
            node_memory=node.memory_capacity,
        )
        try:
            record.paths = await parts.volumes.set_up(given)
        except (VolumeError, ContainerConfigError) as error:
            names = " ".join(v.name for v in pod.spec.volumes)
            message = f"MountVolume.SetUp failed for pod volumes [{names}]: {error}"
            parts.events.pod(pod, WARNING, "FailedMount", message)
            raise SyncFailed(message) from error
        record.paths_at = parts.clock.monotonic()
        pull = []
        for reference in pod.spec.imagePullSecrets:
            secret = await parts.objects.secrets.get(pod.metadata.namespace, reference.name)
            if secret is not None:
                pull.append(secret)
        handler = await parts.objects.runtime_handler(pod.spec.runtimeClassName)
        if handler is None:
            message = f'RuntimeClass "{pod.spec.runtimeClassName}" not found'
            parts.events.pod(
                pod, WARNING, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {message}"
            )
            raise SyncFailed(message)
        return PodInputs(given, record.paths, tuple(pull), handler)

    def _report(self, record: PodRecord, status: RuntimePodStatus) -> core.PodStatus:
        api_status = self._generate(record, status)
        record.reported = True
        if record.wanted and not record.final:
            self._parts.statuses.set(record.pod, api_status)
        return api_status

    def _generate(
        self, record: PodRecord, status: RuntimePodStatus, *, terminal: bool = False
    ) -> core.PodStatus:
        parts = self._parts
        for container in status.containers:
            if container.state == EXITED and container.id not in record.messages:
                record.messages[container.id] = termination_message.read(container, parts.files)
        return generate(
            StatusInput(
                pod=record.pod,
                runtime=status,
                old=parts.statuses.known(record.pod),
                now=parts.clock.now(),
                host_ips=parts.runtime.node.host_ips,
                terminal=terminal,
                verdict=record.verdict,
                facts=ContainerFacts(
                    runtime_name=self._runtime_name(),
                    failures=record.failures,
                    startup=parts.results.startup,
                    readiness=parts.results.readiness,
                    messages=record.messages,
                ),
            )
        )
