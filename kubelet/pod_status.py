"""Spec + runtime records -> the Pod's status: phase, conditions, addresses, QoS. Pure.

Source: pkg/kubelet/kubelet_pods.go (generateAPIPodStatus, getPhase), status/generate.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kubelet.container_statuses import ContainerFacts, container_statuses
from kubelet.pod_resources import qos_class
from kubelet.runtime_status import RuntimePodStatus, is_sidecar
from protos.k8s import core_v1_pb2 as core
from protos.k8s.meta_v1_pb2 import Time

PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"
TERMINAL = frozenset({SUCCEEDED, FAILED})

# The conditions that the kubelet writes, in the order in which it appends them.
DISRUPTION = "DisruptionTarget"
OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A phase that the kubelet decides whatever the containers do: rejected, evicted, too late."""

    reason: str
    message: str
    phase: str = FAILED


@dataclass(frozen=True, slots=True)
class StatusInput:
    """Everything the status follows from. `old` is the last known status."""

    pod: core.Pod
    runtime: RuntimePodStatus
    old: core.PodStatus
    now: datetime
    host_ips: tuple[str, ...] = ()
    terminal: bool = False
    verdict: Verdict | None = None
    facts: ContainerFacts = field(default_factory=ContainerFacts)


def generate(given: StatusInput) -> core.PodStatus:
    """The whole status; conditions that others wrote into the Pod are kept, first."""
    pod, old = given.pod, given.old
    status = core.PodStatus()
    spec = pod.spec
    status.initContainerStatuses.extend(
        container_statuses(
            pod,
            spec.initContainers,
            given.runtime,
            old.initContainerStatuses,
            given.facts,
            init=True,
        )
    )
    status.containerStatuses.extend(
        container_statuses(
            pod, spec.containers, given.runtime, old.containerStatuses, given.facts, init=False
        )
    )
    if spec.ephemeralContainers:
        status.ephemeralContainerStatuses.extend(_ephemeral(given))
    status.phase = _settled_phase(given, status)
    if given.verdict is not None and status.phase == given.verdict.phase:
        status.reason, status.message = given.verdict.reason, given.verdict.message
    elif old.phase in TERMINAL:
        status.reason, status.message = old.reason, old.message
        if not status.reason:
            status.ClearField("reason")
        if not status.message:
            status.ClearField("message")
    status.qosClass = old.qosClass or qos_class(pod)
    if old.nominatedNodeName:
        status.nominatedNodeName = old.nominatedNodeName
    _set_addresses(given, status)
    if old.HasField("startTime"):
        status.startTime.CopyFrom(old.startTime)
    else:
        status.startTime.CopyFrom(time_of(given.now))
    _set_conditions(given, status)
    return status


def time_of(moment: datetime) -> Time:
    """Whole seconds, as Kubernetes keeps times."""
    return Time(seconds=int(moment.timestamp()))


def _ephemeral(given: StatusInput) -> list[core.ContainerStatus]:
    """Ephemeral containers as containers: their common part has the same wire form."""
    as_containers = [
        core.Container.FromString(e.ephemeralContainerCommon.SerializeToString())
        for e in given.pod.spec.ephemeralContainers
    ]
    statuses = container_statuses(
        given.pod,
        as_containers,
        given.runtime,
        given.old.ephemeralContainerStatuses,
        given.facts,
        init=False,
    )
    for status in statuses:
        # They have no readiness.
        status.ready = False
        status.started = False
    return statuses


def _settled_phase(given: StatusInput, status: core.PodStatus) -> str:
    """The containers' phase, unless an earlier end or a verdict overrules it."""
    if given.old.phase in TERMINAL:
        # What has ended never begins again.
        return given.old.phase
    if given.verdict is not None:
        return given.verdict.phase
    return phase(
        given.pod,
        status.initContainerStatuses,
        status.containerStatuses,
        terminal=given.terminal,
    )


def phase(
    pod: core.Pod,
    init_statuses: Sequence[core.ContainerStatus],
    statuses: Sequence[core.ContainerStatus],
    *,
    terminal: bool = False,
) -> str:
    """By the rules of getPhase, in their order."""
    restart = pod.spec.restartPolicy
    initialized = any(not _never_ran(s) for s in statuses)
    pending_init, failed_init = _count_init(pod, init_statuses, initialized=initialized)
    if failed_init and restart == "Never":
        return FAILED
    running = sum(s.state.HasField("running") for s in statuses)
    waiting = sum(_never_ran(s) for s in statuses)
    ended = [_last_end(s) for s in statuses if not s.state.HasField("running")]
    codes = [end.exitCode for end in ended if end is not None]
    unknown = len(pod.spec.containers) - len(statuses)
    if waiting or ((pending_init or failed_init) and not initialized):
        return PENDING
    if running and not unknown:
        return RUNNING
    if codes and not running and not unknown:
        return _stopped_phase(restart, len(codes), codes.count(0), terminal=terminal)
    return PENDING


def _never_ran(status: core.ContainerStatus) -> bool:
    return not status.state.HasField("running") and _last_end(status) is None


def _last_end(status: core.ContainerStatus) -> core.ContainerStateTerminated | None:
    """How it ended: a waiting container with a last termination counts as stopped."""
    if status.state.HasField("terminated"):
        return status.state.terminated
    if status.lastState.HasField("terminated"):
        return status.lastState.terminated
    return None


def _count_init(
    pod: core.Pod, statuses: Sequence[core.ContainerStatus], *, initialized: bool
) -> tuple[int, int]:
    """(pending, failed) init containers."""
    pending = failed = 0
    by_name = {s.name: s for s in statuses}
    for container in pod.spec.initContainers:
        status = by_name.get(container.name)
        if is_sidecar(container):
            pending += not initialized and not (status is not None and status.started)
            continue
        end = _last_end(status) if status is not None else None
        if status is None or status.state.HasField("running") or end is None:
            pending += 1
        else:
            failed += end.exitCode != 0
    return pending, failed


def _stopped_phase(restart: str, stopped: int, succeeded: int, *, terminal: bool) -> str:
    if terminal:
        return SUCCEEDED if stopped == succeeded else FAILED
    if restart == "Always":
        return RUNNING
    if stopped == succeeded:
        return SUCCEEDED
    return FAILED if restart == "Never" else RUNNING


def _set_addresses(given: StatusInput, status: core.PodStatus) -> None:
    if given.host_ips:
        status.hostIP = given.host_ips[0]
        status.hostIPs.extend(core.HostIP(ip=ip) for ip in given.host_ips)
    ips = list(given.host_ips) if given.pod.spec.hostNetwork else given.runtime.ips
    if not ips and given.old.podIPs:
        # The sandbox is gone, the address that the Pod had stays told until the Pod is.
        ips = [p.ip for p in given.old.podIPs]
    if ips:
        status.podIP = ips[0]
        status.podIPs.extend(core.PodIP(ip=ip) for ip in ips)


def _set_conditions(given: StatusInput, status: core.PodStatus) -> None:
    old = {c.type: c for c in given.old.conditions}
    evicted = given.verdict is not None and given.verdict.reason == "Evicted"
    for condition in given.pod.status.conditions:
        if condition.type not in OWNED and not (evicted and condition.type == DISRUPTION):
            status.conditions.append(condition)
    if given.verdict is not None and evicted:
        message = given.verdict.message
        _append(status, old, given.now, DISRUPTION, "True", "TerminationByKubelet", message)
    sandbox_ready = bool(
        given.runtime.ready_sandbox is not None
        and (given.pod.spec.hostNetwork or given.runtime.ips)
    )
    ready = _containers_ready(given.pod, status)
    _append(status, old, given.now, OWNED[0], "True" if sandbox_ready else "False")
    _append(status, old, given.now, OWNED[1], *_initialized(given.pod, status))
    _append(status, old, given.now, OWNED[2], *_pod_ready(given.pod, ready))
    _append(status, old, given.now, OWNED[3], *ready)
    _append(status, old, given.now, OWNED[4], "True")


def _append(
    status: core.PodStatus,
    old: dict[str, core.PodCondition],
    now: datetime,
    type_: str,
    value: str,
    reason: str = "",
    message: str = "",
) -> None:
    condition = status.conditions.add(type=type_, status=value)
    # The API shows a null lastProbeTime; upstream's message carries an empty Time.
    condition.lastProbeTime.SetInParent()
    before = old.get(type_)
    if before is not None and before.status == value and before.HasField("lastTransitionTime"):
        condition.lastTransitionTime.CopyFrom(before.lastTransitionTime)
    else:
        condition.lastTransitionTime.CopyFrom(time_of(now))
    if reason:
        condition.reason = reason
    if message:
        condition.message = message


Condition = tuple[str, str, str]


def _names(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def _initialized(pod: core.Pod, status: core.PodStatus) -> Condition:
    statuses = {s.name: s for s in status.initContainerStatuses}
    unknown, incomplete = [], []
    for container in pod.spec.initContainers:
        found = statuses.get(container.name)
        if found is None:
            unknown.append(container.name)
        elif not (found.started if is_sidecar(container) else found.ready):
            incomplete.append(container.name)
    if status.phase == SUCCEEDED and not unknown:
        return "True", "PodCompleted", ""
    started = any(
        s.state.HasField("running") or s.HasField("containerID") for s in status.containerStatuses
    )
    if started and not unknown:
        return "True", "", ""
    texts = _unfinished(unknown, incomplete, "incomplete")
    return ("False", "ContainersNotInitialized", texts) if texts else ("True", "", "")


def _unfinished(unknown: Sequence[str], wanting: Sequence[str], word: str) -> str:
    texts = []
    if unknown:
        texts.append(f"containers with unknown status: {_names(unknown)}")
    if wanting:
        texts.append(f"containers with {word} status: {_names(wanting)}")
    return ", ".join(texts)


def _containers_ready(pod: core.Pod, status: core.PodStatus) -> Condition:
    statuses = {s.name: s for s in (*status.initContainerStatuses, *status.containerStatuses)}
    wanted = [c for c in pod.spec.initContainers if is_sidecar(c)] + list(pod.spec.containers)
    unknown = [c.name for c in wanted if c.name not in statuses]
    unready = [c.name for c in wanted if c.name in statuses and not statuses[c.name].ready]
    if status.phase == SUCCEEDED and not unknown:
        return "False", "PodCompleted", ""
    if status.phase == FAILED and not unknown:
        return "False", "PodFailed", ""
    texts = _unfinished(unknown, unready, "unready")
    return ("False", "ContainersNotReady", texts) if texts else ("True", "", "")


def _pod_ready(pod: core.Pod, containers: Condition) -> Condition:
    if containers[0] != "True":
        return containers
    values = {c.type: c.status for c in pod.status.conditions}
    texts = []
    for gate in pod.spec.readinessGates:
        value = values.get(gate.conditionType)
        if value is None:
            texts.append(
                f'corresponding condition of pod readiness gate "{gate.conditionType}" '
                "does not exist."
            )
        elif value != "True":
            texts.append(
                f'the status of pod readiness gate "{gate.conditionType}" is not "True", '
                f"but {value}"
            )
    if texts:
        return "False", "ReadinessGatesNotReady", ", ".join(texts)
    return "True", "", ""
