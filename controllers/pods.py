"""What controllers ask about a Pod, and in which order they give Pods up.

Source: k8s.io/kubernetes pkg/controller/controller_utils.go (ActivePodsWithRanks, IsPodActive),
pkg/api/v1/pod/util.go.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cmp_to_key

from protos.k8s.core_v1_pb2 import Pod, PodCondition
from protos.k8s.meta_v1_pb2 import Time

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


def is_finished(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def is_active(pod: Pod) -> bool:
    """True for a Pod that counts as a replica: neither finished nor being deleted."""
    return not is_finished(pod) and not pod.metadata.HasField("deletionTimestamp")


def ready_condition(pod: Pod) -> PodCondition | None:
    for condition in pod.status.conditions:
        if condition.type == "Ready":
            return condition
    return None


def is_ready(pod: Pod) -> bool:
    condition = ready_condition(pod)
    return condition is not None and condition.status == "True"


def available_in(pod: Pod, min_ready_s: int, now_s: float) -> float | None:
    """Seconds until the Pod has been ready long enough: 0 when it has, None when not ready."""
    condition = ready_condition(pod)
    if condition is None or condition.status != "True":
        return None
    if min_ready_s == 0:
        return 0.0
    if not condition.lastTransitionTime.seconds:
        return None
    return max(0.0, condition.lastTransitionTime.seconds + min_ready_s - now_s)


def select_for_deletion(
    pods: Sequence[Pod], count: int, pods_per_node: Mapping[str, int], now_s: float
) -> list[Pod]:
    """The `count` Pods whose loss hurts least.

    In order: unassigned, Pending, not ready, cheap by annotation, on a node with many siblings
    (`pods_per_node`), ready for less time, restarted more often, younger. Ages are compared by
    their logarithm, ties by uid, so that long-running Pods are not always the survivors.
    """
    if count >= len(pods):
        return list(pods)

    def compare(a: Pod, b: Pod) -> int:
        return _compare(a, b, pods_per_node, now_s)

    return sorted(pods, key=cmp_to_key(compare))[:count]


def _compare(a: Pod, b: Pod, pods_per_node: Mapping[str, int], now_s: float) -> int:
    """Negative when `a` goes before `b`."""
    for left, right in (
        (bool(a.spec.nodeName), bool(b.spec.nodeName)),
        (_PHASE_ORDER.get(a.status.phase, 0), _PHASE_ORDER.get(b.status.phase, 0)),
        (is_ready(a), is_ready(b)),
        (_deletion_cost(a), _deletion_cost(b)),
        (-pods_per_node.get(a.spec.nodeName, 0), -pods_per_node.get(b.spec.nodeName, 0)),
    ):
        if left != right:
            return -1 if left < right else 1
    if is_ready(a) and is_ready(b):
        since_a, since_b = _ready_since(a), _ready_since(b)
        if since_a != since_b:
            return _younger_first(a, b, since_a, since_b, now_s)
    restarts_a, restarts_b = _restarts(a), _restarts(b)
    if restarts_a != restarts_b:
        return -1 if restarts_a > restarts_b else 1
    return _younger_first(
        a, b, a.metadata.creationTimestamp.seconds, b.metadata.creationTimestamp.seconds, now_s
    )


def _younger_first(a: Pod, b: Pod, since_a: int, since_b: int, now_s: float) -> int:
    if not since_a or not since_b:  # A time that is not set counts as the youngest.
        return (since_a > 0) - (since_b > 0)
    difference = _age_rank(since_a, now_s) - _age_rank(since_b, now_s)
    if difference:
        return difference
    return (a.metadata.uid > b.metadata.uid) - (a.metadata.uid < b.metadata.uid)


def _age_rank(since: int, now_s: float) -> int:
    """The order of magnitude of an age, base 2, counted in nanoseconds."""
    age_ns = int((now_s - since) * 1e9)
    return -1 if age_ns <= 0 else int(math.log2(age_ns))


def _ready_since(pod: Pod) -> int:
    condition = ready_condition(pod)
    return condition.lastTransitionTime.seconds if condition is not None else 0


def _restarts(pod: Pod) -> int:
    return max((status.restartCount for status in pod.status.containerStatuses), default=0)


def _deletion_cost(pod: Pod) -> int:
    annotations = pod.metadata.annotations
    if DELETION_COST not in annotations:
        return 0
    try:
        return int(annotations[DELETION_COST])
    except ValueError:
        return 0


def time_at(seconds: float) -> Time:
    """A Kubernetes timestamp: whole seconds."""
    return Time(seconds=int(seconds), nanos=0)
