"""The Pod's row: how far it is, in one word.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go (printPod).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apiserver.http_gateway.printers.cells import NONE, Cells, age, human_duration

_TERMINAL = ("Succeeded", "Failed")


@dataclass
class _Counts:
    """What is counted on the way through the container statuses."""

    ready: int = 0
    restarts: int = 0
    last_restart_s: int = 0

    def add_restarts(self, status: Any) -> None:
        self.restarts += status.restartCount
        finished = status.lastState.terminated.finishedAt.seconds
        self.last_restart_s = max(self.last_restart_s, finished)


def conditions(pod: Any) -> list[dict[str, str]]:
    """The row's conditions: finished Pods can be hidden by them."""
    phase = pod.status.phase
    if phase not in _TERMINAL:
        return []
    messages = {
        "Succeeded": "The pod has completed successfully.",
        "Failed": "The pod failed.",
    }
    return [{"type": "Completed", "status": "True", "reason": phase, "message": messages[phase]}]


def cells(pod: Any, now: datetime) -> Cells:
    status = pod.status
    sidecars = {c.name for c in pod.spec.initContainers if c.restartPolicy == "Always"}
    total = len(pod.spec.containers) + sum(
        c.restartPolicy == "Always" for c in pod.spec.initContainers
    )
    reason = status.reason or status.phase
    if any(c.type == "PodScheduled" and c.reason == "SchedulingGated" for c in status.conditions):
        reason = "SchedulingGated"
    init, side, main = _Counts(), _Counts(), _Counts()
    waits_for = _init_reason(pod, sidecars, init, side)
    counts = init
    if not waits_for or _is_true(status, "Initialized"):
        reason = _main_reason(status, waits_for or reason, main)
        counts = _Counts(main.ready, main.restarts + side.restarts)
        counts.last_restart_s = max(main.last_restart_s, side.last_restart_s)
    else:
        reason = waits_for
    reason = _ending_reason(pod, reason)
    ready = counts.ready + side.ready
    return [
        pod.metadata.name,
        f"{ready}/{total}",
        reason,
        _restarts(counts, now),
        age(pod.metadata, now),
        (status.podIPs[0].ip if status.podIPs else "") or NONE,
        pod.spec.nodeName or NONE,
        status.nominatedNodeName or NONE,
        _readiness_gates(pod),
    ]


def _restarts(counts: _Counts, now: datetime) -> str:
    if counts.restarts and counts.last_restart_s:
        ago = human_duration(now.timestamp() - counts.last_restart_s)
        return f"{counts.restarts} ({ago} ago)"
    return str(counts.restarts)


def _init_reason(pod: Any, sidecars: set[str], init: _Counts, side: _Counts) -> str:
    """What the first init container that is not done says; empty when all are."""
    for index, status in enumerate(pod.status.initContainerStatuses):
        is_sidecar = status.name in sidecars
        init.add_restarts(status)
        if is_sidecar:
            side.add_restarts(status)
        state = status.state
        ended = state.HasField("terminated")
        if ended and state.terminated.exitCode == 0:
            continue
        if is_sidecar and status.started:
            side.ready += status.ready
            continue
        if ended:
            return f"Init:{_terminated_reason(state.terminated)}"
        if state.waiting.reason not in ("", "PodInitializing"):
            return f"Init:{state.waiting.reason}"
        return f"Init:{index}/{len(pod.spec.initContainers)}"
    return ""


def _terminated_reason(terminated: Any) -> str:
    if terminated.reason:
        return str(terminated.reason)
    if terminated.signal:
        return f"Signal:{terminated.signal}"
    return f"ExitCode:{terminated.exitCode}"


def _main_reason(status: Any, reason: str, counts: _Counts) -> str:
    """The first container that is not simply running decides."""
    has_running = False
    for container in reversed(status.containerStatuses):
        counts.add_restarts(container)
        state = container.state
        if state.waiting.reason:
            reason = state.waiting.reason
        elif state.HasField("terminated"):
            reason = _terminated_reason(state.terminated)
        elif container.ready and state.HasField("running"):
            has_running = True
            counts.ready += 1
    if reason == "Completed" and has_running:
        return "Running" if _is_true(status, "Ready") else "NotReady"
    return reason


def _ending_reason(pod: Any, reason: str) -> str:
    if not pod.metadata.HasField("deletionTimestamp"):
        return reason
    if pod.status.reason == "NodeLost":
        return "Unknown"
    return reason if pod.status.phase in _TERMINAL else "Terminating"


def _is_true(status: Any, condition_type: str) -> bool:
    return any(c.type == condition_type and c.status == "True" for c in status.conditions)


def _readiness_gates(pod: Any) -> str:
    gates = pod.spec.readinessGates
    if not gates:
        return NONE
    passed = sum(_is_true(pod.status, gate.conditionType) for gate in gates)
    return f"{passed}/{len(gates)}"
