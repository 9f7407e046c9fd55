"""Runtime records -> the API's container statuses. Pure.

Source: pkg/kubelet/kubelet_pods.go (convertToAPIContainerStatuses, toKubeContainerStatus),
kuberuntime/kuberuntime_container.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubelet.pod_actions import ProbeOutcome, should_be_restarted
from kubelet.runtime_status import (
    CREATED,
    EXITED,
    RUNNING,
    RuntimePodStatus,
    is_sidecar,
    restart_count,
)
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core
from protos.k8s.meta_v1_pb2 import Time

UNKNOWN_REASON = "ContainerStatusUnknown"
UNKNOWN_EXIT_CODE = 137
LOST_MESSAGE = (
    "The container could not be located when the pod was deleted.  The container used to be Running"
)
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class StartFailure:
    """Why a container could not be started: a waiting reason and its message."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What is known of containers besides the runtime's records.

    `failures` by container name; probe outcomes by container id; `messages` are termination
    messages by container id; `runtime_name` is the prefix of container ids.
    """

    runtime_name: str = "podpath"
    failures: Mapping[str, StartFailure] = field(default_factory=dict)
    startup: Mapping[str, ProbeOutcome] = field(default_factory=dict)
    readiness: Mapping[str, ProbeOutcome] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)


def container_statuses(
    pod: core.Pod,
    containers: Sequence[core.Container],
    runtime: RuntimePodStatus,
    old: Sequence[core.ContainerStatus],
    facts: ContainerFacts,
    *,
    init: bool,
) -> list[core.ContainerStatus]:
    """One status for each container of the spec, in its order."""
    before = {status.name: status for status in old}
    return [
        _status(pod, container, runtime, before.get(container.name), facts, init=init)
        for container in containers
    ]


def _status(
    pod: core.Pod,
    container: core.Container,
    runtime: RuntimePodStatus,
    old: core.ContainerStatus | None,
    facts: ContainerFacts,
    *,
    init: bool,
) -> core.ContainerStatus:
    records = runtime.of(container.name)
    if records:
        status = _from_record(container, records[0], facts)
        if len(records) > 1:
            status.lastState.CopyFrom(_state(records[1], facts))
        elif old is not None and old.restartCount and old.HasField("lastState"):
            status.lastState.CopyFrom(old.lastState)
    else:
        status = _without_record(pod, container, old, init=init)
    failure = facts.failures.get(container.name)
    if failure is not None and should_be_restarted(pod, container.name, runtime):
        if status.state.HasField("terminated"):
            status.lastState.CopyFrom(status.state)
        status.state.Clear()
        status.state.waiting.reason = failure.reason
        status.state.waiting.message = failure.message
    _set_readiness(container, status, records, facts, init=init)
    _set_resources(container, status)
    return status


def _without_record(
    pod: core.Pod, container: core.Container, old: core.ContainerStatus | None, *, init: bool
) -> core.ContainerStatus:
    status = core.ContainerStatus(
        name=container.name, image=container.image, imageID="", ready=False, restartCount=0
    )
    waits = "PodInitializing" if pod.spec.initContainers else "ContainerCreating"
    status.state.waiting.reason = waits
    if old is None:
        return status
    status.restartCount = old.restartCount
    if old.HasField("lastState"):
        status.lastState.CopyFrom(old.lastState)
    if old.state.HasField("terminated"):
        if init or pod.spec.restartPolicy != "Always":
            # It has ended and its record was collected: what was known stays true.
            status.CopyFrom(old)
            return status
        status.lastState.CopyFrom(old.state)
    elif old.state.HasField("running"):
        status.restartCount = old.restartCount + 1
        lost = status.lastState.terminated
        lost.reason = UNKNOWN_REASON
        lost.message = LOST_MESSAGE
        lost.exitCode = UNKNOWN_EXIT_CODE
        if pod.metadata.HasField("deletionTimestamp") or pod.spec.restartPolicy == "Never":
            status.state.CopyFrom(status.lastState)
            status.ClearField("lastState")
            status.restartCount = old.restartCount
    return status


def _from_record(
    container: core.Container, record: cri.ContainerStatus, facts: ContainerFacts
) -> core.ContainerStatus:
    status = core.ContainerStatus(
        name=container.name,
        image=record.image.user_specified_image or record.image.image or container.image,
        imageID=record.image_ref or record.image_id,
        containerID=f"{facts.runtime_name}://{record.id}",
        restartCount=restart_count(record),
        ready=False,
    )
    status.state.CopyFrom(_state(record, facts))
    return status


def _state(record: cri.ContainerStatus, facts: ContainerFacts) -> core.ContainerState:
    state = core.ContainerState()
    if record.state == RUNNING:
        state.running.startedAt.CopyFrom(_time(record.started_at))
    elif record.state == EXITED:
        ended = state.terminated
        ended.exitCode = record.exit_code
        ended.reason = record.reason or ("Completed" if record.exit_code == 0 else "Error")
        message = facts.messages.get(record.id, record.message)
        if message:
            ended.message = message
        ended.startedAt.CopyFrom(_time(record.started_at))
        ended.finishedAt.CopyFrom(_time(record.finished_at))
        ended.containerID = f"{facts.runtime_name}://{record.id}"
    elif record.state == CREATED:
        state.waiting.reason = "ContainerCreating"
    else:
        ended = state.terminated
        ended.reason = UNKNOWN_REASON
        ended.message = "The container could not be located when the pod was terminated"
        ended.exitCode = UNKNOWN_EXIT_CODE
    return state


def _time(nanoseconds: int) -> Time:
    return Time(seconds=nanoseconds // _NANO)


def _set_readiness(
    container: core.Container,
    status: core.ContainerStatus,
    records: Sequence[cri.ContainerStatus],
    facts: ContainerFacts,
    *,
    init: bool,
) -> None:
    running = status.state.HasField("running")
    if init and not is_sidecar(container):
        ended = status.state.terminated
        status.ready = status.state.HasField("terminated") and ended.exitCode == 0
        status.started = running
        return
    started = running
    ready = running
    if running:
        container_id = records[0].id
        if container.HasField("startupProbe"):
            started = facts.startup.get(container_id) is ProbeOutcome.SUCCESS
        ready = started
        if started and container.HasField("readinessProbe"):
            ready = facts.readiness.get(container_id) is ProbeOutcome.SUCCESS
    status.started = started
    status.ready = ready


def _set_resources(container: core.Container, status: core.ContainerStatus) -> None:
    for mount in container.volumeMounts:
        shown = status.volumeMounts.add(name=mount.name, mountPath=mount.mountPath)
        if mount.readOnly:
            shown.readOnly = True
            shown.recursiveReadOnly = "Disabled"
    resources = container.resources
    if resources.requests or resources.limits:
        status.resources.CopyFrom(resources)
        for name, amount in resources.requests.items():
            status.allocatedResources[name].CopyFrom(amount)
