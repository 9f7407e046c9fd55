"""What a node's silence means: its conditions, its taints, when its Pods must leave. Pure.

Source: k8s.io/kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go,
pkg/controller/tainteviction/taint_eviction.go.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from controllers.pods import time_at
from podpath.api.tolerations import tolerates
from protos.k8s.core_v1_pb2 import Node, NodeCondition, Pod, Taint

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
NO_SCHEDULE = "NoSchedule"
NO_EXECUTE = "NoExecute"

# Conditions that only the kubelet can know; unknown once it is silent.
WATCHED_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")

# (condition, status) -> key of a NoSchedule taint
_CONDITION_TAINTS = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OWN_NO_SCHEDULE = frozenset({*_CONDITION_TAINTS.values(), UNSCHEDULABLE})


def condition_of(node: Node, kind: str) -> NodeCondition | None:
    return next((c for c in node.status.conditions if c.type == kind), None)


def mark_unknown(node: Node, now_s: float) -> bool:
    """Sets what a silent kubelet would have to tell to Unknown; True if that changed anything."""
    changed = False
    for kind in WATCHED_CONDITIONS:
        present = condition_of(node, kind)
        if present is not None and present.status == "Unknown":
            continue
        changed = True
        if present is None:
            node.status.conditions.append(
                NodeCondition(
                    type=kind,
                    status="Unknown",
                    reason="NodeStatusNeverUpdated",
                    message="Kubelet never posted node status.",
                    lastHeartbeatTime=node.metadata.creationTimestamp,
                    lastTransitionTime=time_at(now_s),
                )
            )
        else:
            present.status = "Unknown"
            present.reason = "NodeStatusUnknown"
            present.message = "Kubelet stopped posting node status."
            present.lastTransitionTime.CopyFrom(time_at(now_s))
    return changed


def schedule_taints(node: Node) -> list[Taint]:
    """The node's taints with those NoSchedule ones that its conditions and `spec.unschedulable`
    demand, which keep new Pods away; others are as they were."""
    keys = {
        key
        for condition in node.status.conditions
        if (key := _CONDITION_TAINTS.get((condition.type, condition.status))) is not None
    }
    if node.spec.unschedulable:
        keys.add(UNSCHEDULABLE)
    kept = [
        taint
        for taint in node.spec.taints
        if taint.effect != NO_SCHEDULE or taint.key not in _OWN_NO_SCHEDULE
    ]
    return [*kept, *(Taint(key=key, effect=NO_SCHEDULE) for key in sorted(keys))]


class ExecuteChange(enum.Enum):
    """What has to happen to the NoExecute taint of a node."""

    NONE = "none"
    REMOVE = "remove"
    SWAP = "swap one for the other"
    ADD = "add"


def execute_change(node: Node) -> ExecuteChange:
    """Only ADD makes Pods leave that could stay: that is held back when many nodes are lost."""
    wanted = _execute_key(node)
    present = {t.key for t in node.spec.taints if _is_own_execute(t)}
    if present == ({wanted} if wanted else set()):
        return ExecuteChange.NONE
    if wanted is None:
        return ExecuteChange.REMOVE
    return ExecuteChange.SWAP if present else ExecuteChange.ADD


def execute_taints(node: Node, now_s: float) -> list[Taint]:
    """The node's taints with the NoExecute one that its Ready condition demands, which makes its
    Pods leave; others are as they were."""
    key = _execute_key(node)
    if key is None:
        return without_execute_taints(node)
    # An old one's timeAdded is when the time that Pods tolerate began.
    old = [t for t in node.spec.taints if t.key == key and t.effect == NO_EXECUTE]
    new = Taint(key=key, effect=NO_EXECUTE, timeAdded=time_at(now_s))
    return [*without_execute_taints(node), *(old or [new])]


def without_execute_taints(node: Node) -> list[Taint]:
    return [taint for taint in node.spec.taints if not _is_own_execute(taint)]


def _execute_key(node: Node) -> str | None:
    ready = condition_of(node, "Ready")
    return _CONDITION_TAINTS.get(("Ready", ready.status)) if ready is not None else None


def _is_own_execute(taint: Taint) -> bool:
    return taint.effect == NO_EXECUTE and taint.key in (NOT_READY, UNREACHABLE)


def same_taints(one: Sequence[Taint], other: Sequence[Taint]) -> bool:
    """True if both hold the same keys with the same effects and values."""
    return {(t.key, t.effect, t.value) for t in one} == {(t.key, t.effect, t.value) for t in other}


@dataclass(frozen=True, slots=True)
class Eviction:
    """The Pod has to leave in `after_s` seconds (0: now); None: it may stay."""

    after_s: float | None


STAYS = Eviction(None)


def decide_eviction(pod: Pod, taints: Sequence[Taint], now_s: float) -> Eviction:
    """When the Pod has to leave a node with these taints.

    A taint that is not tolerated evicts at once; the shortest tolerated time counts.
    """
    execute = [taint for taint in taints if taint.effect == NO_EXECUTE]
    if not execute:
        return STAYS
    waits: list[float] = []
    for taint in execute:
        matching = [t for t in pod.spec.tolerations if tolerates(t, taint)]
        if not matching:
            return Eviction(0.0)
        limited = [t.tolerationSeconds for t in matching if t.HasField("tolerationSeconds")]
        if limited:
            since = taint.timeAdded.seconds or now_s
            waits.append(max(0.0, since + max(0, min(limited)) - now_s))
    return Eviction(min(waits)) if waits else STAYS
