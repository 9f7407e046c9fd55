"""What must happen so that the runtime matches a Pod's spec. Pure.

Source: pkg/kubelet/kuberuntime/kuberuntime_manager.go (computePodActions),
kuberuntime_container.go (computeInitContainerActions), container/helpers.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from kubelet.runtime_status import (
    CREATED,
    EXITED,
    HASH_ANNOTATION,
    RUNNING,
    UNKNOWN,
    RuntimePodStatus,
    is_sidecar,
)
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core


class ProbeOutcome(Enum):
    """The last verdict of a probe on one container."""

    UNKNOWN = "Unknown"
    SUCCESS = "Success"
    FAILURE = "Failure"


@dataclass(frozen=True, slots=True)
class ProbeOutcomes:
    """Verdicts by container id; an id that is absent has not been probed yet."""

    startup: Mapping[str, ProbeOutcome] = field(default_factory=dict)
    liveness: Mapping[str, ProbeOutcome] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kill:
    """A container to stop: `reason` is for deciders, `message` for the Killing event."""

    container_id: str
    name: str
    message: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PodActions:
    """Indices point into the spec's lists. `attempt` is that of the sandbox to create."""

    kill_pod: bool = False
    create_sandbox: bool = False
    sandbox_id: str = ""
    attempt: int = 0
    start_init: tuple[int, ...] = ()
    start_ephemeral: tuple[int, ...] = ()
    start: tuple[int, ...] = ()
    kill: tuple[Kill, ...] = ()

    @property
    def is_nothing(self) -> bool:
        return not (
            self.kill_pod
            or self.create_sandbox
            or self.start_init
            or self.start_ephemeral
            or self.start
            or self.kill
        )


def sandbox_changed(pod: core.Pod, status: RuntimePodStatus) -> tuple[bool, int, str]:
    """(whether a new sandbox is needed, its attempt, the present one's id)."""
    if not status.sandboxes:
        return True, 0, ""
    newest = status.sandboxes[0]
    ready = sum(s.state == cri.SANDBOX_READY for s in status.sandboxes)
    following = newest.metadata.attempt + 1
    if ready > 1 or newest.state != cri.SANDBOX_READY:
        return True, following, newest.id
    wanted = cri.NODE if pod.spec.hostNetwork else cri.POD
    if newest.linux.namespaces.options.network != wanted:
        return True, following, ""
    if not pod.spec.hostNetwork and not newest.network.ip:
        return True, following, newest.id
    return False, newest.metadata.attempt, newest.id


def should_be_restarted(pod: core.Pod, name: str, status: RuntimePodStatus) -> bool:
    """Whether a container that does not run is to be started (again) by the restart policy."""
    if pod.metadata.HasField("deletionTimestamp"):
        return False
    latest = status.latest(name)
    if latest is None:
        return True
    if latest.state == RUNNING:
        return False
    if latest.state in (UNKNOWN, CREATED):
        return True
    if pod.spec.restartPolicy == "Never":
        return False
    return not (pod.spec.restartPolicy == "OnFailure" and latest.exit_code == 0)


def has_any_regular_container_created(pod: core.Pod, status: RuntimePodStatus) -> bool:
    return any(
        (latest := status.latest(c.name)) is not None and latest.state in (CREATED, RUNNING, EXITED)
        for c in pod.spec.containers
    )


def compute_pod_actions(
    pod: core.Pod,
    status: RuntimePodStatus,
    outcomes: ProbeOutcomes,
    hashes: Mapping[str, str],
) -> PodActions:
    """Compares spec and runtime. `hashes` are the spec's container hashes by container name."""
    create, attempt, sandbox_id = sandbox_changed(pod, status)
    if create:
        return _with_new_sandbox(pod, status, attempt, sandbox_id)
    ephemeral = tuple(
        i
        for i, c in enumerate(pod.spec.ephemeralContainers)
        if status.latest(c.ephemeralContainerCommon.name) is None
    )
    init = _init_actions(pod, status, outcomes)
    base = PodActions(
        sandbox_id=sandbox_id,
        attempt=attempt,
        start_init=init.start,
        start_ephemeral=ephemeral,
        kill=tuple(init.kill),
        kill_pod=init.failed,
    )
    if init.failed or not init.initialized:
        return base
    return _regular_actions(pod, status, outcomes, hashes, base)


def _with_new_sandbox(
    pod: core.Pod, status: RuntimePodStatus, attempt: int, sandbox_id: str
) -> PodActions:
    old = PodActions(kill_pod=True, sandbox_id=sandbox_id, attempt=attempt)
    if pod.spec.restartPolicy == "Never" and attempt != 0 and status.containers:
        # All has run once, and must not run again.
        return old
    start = tuple(
        i
        for i, c in enumerate(pod.spec.containers)
        if not (
            pod.spec.restartPolicy == "OnFailure"
            and (latest := status.latest(c.name)) is not None
            and latest.state == EXITED
            and latest.exit_code == 0
        )
    )
    if not start:
        return old
    first = (0,) if pod.spec.initContainers else ()
    return PodActions(
        kill_pod=True,
        create_sandbox=True,
        sandbox_id=sandbox_id,
        attempt=attempt,
        start_init=first,
        start=() if first else start,
    )


def _regular_actions(
    pod: core.Pod,
    status: RuntimePodStatus,
    outcomes: ProbeOutcomes,
    hashes: Mapping[str, str],
    base: PodActions,
) -> PodActions:
    start: list[int] = []
    kill = list(base.kill)
    kept = 0
    for index, container in enumerate(pod.spec.containers):
        latest = status.latest(container.name)
        if latest is None or latest.state != RUNNING:
            if should_be_restarted(pod, container.name, status):
                if latest is not None and latest.state == UNKNOWN:
                    kill.append(
                        Kill(
                            latest.id,
                            container.name,
                            'Container is in "Unknown" state, try killing it before restart',
                            "Unknown",
                        )
                    )
                start.append(index)
            continue
        why = _why_kill(container, latest, outcomes, hashes)
        if why is None:
            kept += 1
            continue
        message, reason, always = why
        if always or pod.spec.restartPolicy != "Never":
            message += ", will be restarted"
            start.append(index)
        kill.append(Kill(latest.id, container.name, message, reason))
    done = kept == 0 and not start
    return PodActions(
        kill_pod=done,
        sandbox_id=base.sandbox_id,
        attempt=base.attempt,
        # Sidecars end with the last regular container.
        start_init=() if done else base.start_init,
        start_ephemeral=base.start_ephemeral,
        start=tuple(start),
        kill=tuple(kill),
    )


def _why_kill(
    container: core.Container,
    latest: cri.ContainerStatus,
    outcomes: ProbeOutcomes,
    hashes: Mapping[str, str],
) -> tuple[str, str, bool] | None:
    """(message, reason, restart whatever the policy says), or None to keep it."""
    was = latest.annotations.get(HASH_ANNOTATION, "")
    wanted = hashes.get(container.name, was)
    if was and was != wanted:
        return f"Container {container.name} definition changed", "Changed", True
    if outcomes.liveness.get(latest.id) is ProbeOutcome.FAILURE:
        return f"Container {container.name} failed liveness probe", "LivenessProbe", False
    if outcomes.startup.get(latest.id) is ProbeOutcome.FAILURE:
        return f"Container {container.name} failed startup probe", "StartupProbe", False
    return None


@dataclass(slots=True)
class _Init:
    initialized: bool
    start_reversed: list[int] = field(default_factory=list)
    kill: list[Kill] = field(default_factory=list)
    failed: bool = False

    @property
    def start(self) -> tuple[int, ...]:
        return tuple(reversed(self.start_reversed))


def _init_actions(pod: core.Pod, status: RuntimePodStatus, outcomes: ProbeOutcomes) -> _Init:
    """From the last init container to the first: the newest that ran says how far the Pod is."""
    containers = pod.spec.initContainers
    if not containers:
        return _Init(initialized=True)
    result = _Init(initialized=has_any_regular_container_created(pod, status))
    past = result.initialized
    found = False
    for index in range(len(containers) - 1, -1, -1):
        container = containers[index]
        latest = status.latest(container.name)
        if latest is None:
            # One that has run but whose record is gone.
            if past and is_sidecar(container):
                result.start_reversed.append(index)
            continue
        found = True
        if past and not is_sidecar(container):
            continue
        if is_sidecar(container):
            _sidecar(index, container, latest, outcomes, past, len(containers), result)
        else:
            _ordinary_init(index, container, latest, pod, result, len(containers))
            if result.failed:
                return _Init(initialized=False, failed=True)
        # What lies before the newest one has been through already.
        past = True
    if not found and not result.initialized and not result.start_reversed:
        result.start_reversed.append(0)
    return result


def _ordinary_init(
    index: int,
    container: core.Container,
    latest: cri.ContainerStatus,
    pod: core.Pod,
    result: _Init,
    count: int,
) -> None:
    if latest.state == RUNNING:
        return
    if latest.state == CREATED:
        # Made but never started: the start must have failed.
        result.start_reversed.append(index)
    elif latest.state == EXITED and latest.exit_code == 0:
        if index == count - 1:
            result.initialized = True
        else:
            result.start_reversed.append(index + 1)
    elif pod.spec.restartPolicy == "Never":
        result.failed = True
    else:
        if latest.state == UNKNOWN:
            result.kill.append(_unknown_init(latest, container.name))
        result.start_reversed.append(index)


def _sidecar(
    index: int,
    container: core.Container,
    latest: cri.ContainerStatus,
    outcomes: ProbeOutcomes,
    past: bool,
    count: int,
    result: _Init,
) -> None:
    if latest.state != RUNNING:
        if latest.state == UNKNOWN:
            result.kill.append(_unknown_init(latest, container.name))
        result.start_reversed.append(index)
        return
    if container.HasField("startupProbe"):
        startup = outcomes.startup.get(latest.id, ProbeOutcome.UNKNOWN)
        if startup is ProbeOutcome.FAILURE:
            message = f"Init container {container.name} failed startup probe"
            result.kill.append(Kill(latest.id, container.name, message, "StartupProbe"))
            result.start_reversed.append(index)
        if startup is not ProbeOutcome.SUCCESS:
            return
    if not past:
        if index == count - 1:
            result.initialized = True
        else:
            result.start_reversed.append(index + 1)
    if outcomes.liveness.get(latest.id) is ProbeOutcome.FAILURE:
        message = f"Init container {container.name} failed liveness probe"
        result.kill.append(Kill(latest.id, container.name, message, "LivenessProbe"))
        result.start_reversed.append(index)


def _unknown_init(latest: cri.ContainerStatus, name: str) -> Kill:
    message = 'Init container is in "Unknown" state, try killing it before restart'
    return Kill(latest.id, name, message, "Unknown")
