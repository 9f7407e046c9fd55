"""How many Pods a disruption budget can spare. Pure.

Source: k8s.io/kubernetes pkg/controller/disruption/disruption.go, pkg/apis/policy/v1/helpers.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controllers.int_or_string import is_percentage, scaled
from controllers.pods import is_ready, time_at
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.meta_v1_pb2 import Condition
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget, PodDisruptionBudgetStatus

# So long an evicted Pod may take to begin its end before the eviction counts as failed.
DELETION_TIMEOUT_S = 120.0
ALLOWED = "DisruptionAllowed"


@dataclass(frozen=True, slots=True)
class Disrupted:
    """Evictions under way, by Pod: when they were granted. `overdue` did not happen in time;
    `next_look_s` is when the next one will be overdue."""

    pods: Mapping[str, int]
    overdue: tuple[str, ...]
    next_look_s: float | None


def counts_owners(budget: PodDisruptionBudget) -> bool:
    """True if the budget is relative to how many Pods their controllers want."""
    spec = budget.spec
    return spec.HasField("maxUnavailable") or is_percentage(spec.minAvailable)


def expected_and_desired(
    budget: PodDisruptionBudget, pods: int, wanted_by_owners: int
) -> tuple[int, int]:
    """How many Pods there should be, and how many of them have to be healthy."""
    spec = budget.spec
    if spec.HasField("maxUnavailable"):
        spared = scaled(spec.maxUnavailable, wanted_by_owners, round_up=True)
        return wanted_by_owners, max(0, wanted_by_owners - spared)
    if is_percentage(spec.minAvailable):
        return wanted_by_owners, scaled(spec.minAvailable, wanted_by_owners, round_up=True)
    return pods, spec.minAvailable.intVal


def disrupted(budget: PodDisruptionBudget, pods: Sequence[Pod], now_s: float) -> Disrupted:
    """The evictions that still count: of Pods that are there and have not begun to end."""
    present = {pod.metadata.name: pod for pod in pods}
    kept: dict[str, int] = {}
    overdue: list[str] = []
    for name, granted in budget.status.disruptedPods.items():
        pod = present.get(name)
        if pod is None or pod.metadata.HasField("deletionTimestamp"):
            continue
        if granted.seconds + DELETION_TIMEOUT_S < now_s:
            overdue.append(name)
        else:
            kept[name] = granted.seconds
    due = min(kept.values(), default=None)
    next_look_s = None if due is None else max(0.0, due + DELETION_TIMEOUT_S - now_s)
    return Disrupted(kept, tuple(overdue), next_look_s)


def healthy(pods: Sequence[Pod], disrupted_pods: Mapping[str, int]) -> int:
    """Ready Pods that nobody has asked to go."""
    return sum(
        is_ready(pod)
        and not pod.metadata.HasField("deletionTimestamp")
        and pod.metadata.name not in disrupted_pods
        for pod in pods
    )


def compute_status(
    budget: PodDisruptionBudget,
    *,
    expected: int,
    desired: int,
    current: int,
    evictions: Disrupted,
    now_s: float,
) -> PodDisruptionBudgetStatus:
    """The status as it should be, beside `budget.status` as it is."""
    status = _next_status(budget)
    status.expectedPods, status.desiredHealthy, status.currentHealthy = expected, desired, current
    status.disruptionsAllowed = max(0, current - desired) if expected > 0 else 0
    status.disruptedPods.clear()
    for name, granted in evictions.pods.items():
        status.disruptedPods[name].CopyFrom(time_at(granted))
    enough = status.disruptionsAllowed > 0
    reason = "SufficientPods" if enough else "InsufficientPods"
    _set_allowed(status, enough, reason, "", now_s)
    return status


def failed_status(budget: PodDisruptionBudget, why: str, now_s: float) -> PodDisruptionBudgetStatus:
    """What cannot be counted spares nothing."""
    status = _next_status(budget)
    status.disruptionsAllowed = 0
    _set_allowed(status, False, "SyncFailed", why, now_s)
    return status


def _next_status(budget: PodDisruptionBudget) -> PodDisruptionBudgetStatus:
    status = PodDisruptionBudgetStatus()
    status.CopyFrom(budget.status)
    status.observedGeneration = budget.metadata.generation
    return status


def _set_allowed(
    status: PodDisruptionBudgetStatus, allowed: bool, reason: str, message: str, now_s: float
) -> None:
    told = Condition(
        type=ALLOWED,
        status="True" if allowed else "False",
        reason=reason,
        message=message,
        observedGeneration=status.observedGeneration,
    )
    for present in status.conditions:
        if present.type == ALLOWED:
            same = present.status == told.status
            told.lastTransitionTime.CopyFrom(present.lastTransitionTime if same else time_at(now_s))
            present.CopyFrom(told)
            return
    told.lastTransitionTime.CopyFrom(time_at(now_s))
    status.conditions.append(told)
