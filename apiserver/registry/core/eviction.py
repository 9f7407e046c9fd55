"""The subresource pods/eviction: a deletion that disruption budgets may refuse. Pure.

Source: pkg/registry/core/pod/storage/eviction.go.
"""

from collections.abc import Iterable
from datetime import datetime

from podpath.api import errors, selectors
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Pod, PodCondition
from protos.k8s.meta_v1_pb2 import Condition, Status, StatusCause
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget

DISRUPTED_PODS_MAX = 2000
PROCESSING_RETRY_S = 10
_ALWAYS_ALLOW = "AlwaysAllow"


def budget_of(pod: Pod, budgets: Iterable[PodDisruptionBudget]) -> PodDisruptionBudget | None:
    """The budget that has to allow the eviction; None when there is nothing to ask.

    Raises: ApiError (500) when more than one budget covers the Pod.
    """
    if pod.status.phase in ("Succeeded", "Failed", "Pending"):
        return None
    if pod.metadata.HasField("deletionTimestamp"):
        return None
    covering = [budget for budget in budgets if _covers(budget, pod)]
    if len(covering) > 1:
        text = (
            "This pod has more than one PodDisruptionBudget, "
            "which the eviction subresource does not support."
        )
        raise ApiError(Status(status="Failure", message=text, code=500))
    if not covering or _needs_no_leave(pod, covering[0]):
        return None
    return covering[0]


def _needs_no_leave(pod: Pod, budget: PodDisruptionBudget) -> bool:
    """A Pod that is not ready does not count: it may go while the others are enough."""
    if any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions):
        return False
    if budget.spec.unhealthyPodEvictionPolicy == _ALWAYS_ALLOW:
        return True
    status = budget.status
    return 0 < status.desiredHealthy <= status.currentHealthy


def disrupt(budget: PodDisruptionBudget, pod_name: str, now: datetime) -> None:
    """Counts an eviction: one less is allowed, and the controller is told of which Pod.

    Raises: ApiError (TooManyRequests, Forbidden) when none is allowed now.
    """
    status, name = budget.status, budget.metadata.name
    if status.observedGeneration < budget.metadata.generation:
        text = f"The disruption budget {name} is still being processed by the server."
        raise _too_many(text, PROCESSING_RETRY_S)
    if status.disruptionsAllowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.disruptedPods) > DISRUPTED_PODS_MAX:
        text = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise _forbidden(name, text)
    if status.disruptionsAllowed == 0:
        raise _too_many(
            f"The disruption budget {name} needs {status.desiredHealthy} healthy pods "
            f"and has {status.currentHealthy} currently",
            0,
        )
    status.disruptionsAllowed -= 1
    status.disruptedPods[pod_name].seconds = int(now.timestamp())
    status.disruptedPods[pod_name].nanos = 0
    if status.disruptionsAllowed == 0:
        _say_none_allowed(budget, now)


def _say_none_allowed(budget: PodDisruptionBudget, now: datetime) -> None:
    told = Condition(
        type="DisruptionAllowed",
        status="False",
        observedGeneration=budget.status.observedGeneration,
        reason="InsufficientPods",
        message="",
    )
    told.lastTransitionTime.seconds = int(now.timestamp())
    for condition in budget.status.conditions:
        if condition.type == told.type:
            if condition.status == told.status:
                told.lastTransitionTime.CopyFrom(condition.lastTransitionTime)
            condition.CopyFrom(told)
            return
    budget.status.conditions.append(told)


def mark(pod: Pod, now: datetime) -> None:
    """Says on the Pod why it goes."""
    told = PodCondition(
        type="DisruptionTarget",
        status="True",
        reason="EvictionByEvictionAPI",
        message="Eviction API: evicting",
    )
    told.lastTransitionTime.seconds = int(now.timestamp())
    for condition in pod.status.conditions:
        if condition.type == told.type:
            condition.CopyFrom(told)
            return
    pod.status.conditions.append(told)


def _too_many(cause: str, retry_after_s: int) -> ApiError:
    text = "Cannot evict pod as it would violate the pod's disruption budget."
    error = errors.too_many_requests(text, retry_after_s)
    error.status.details.causes.append(StatusCause(reason="DisruptionBudget", message=cause))
    return error


def _forbidden(name: str, cause: str) -> ApiError:
    return errors.forbidden("policy", "poddisruptionbudgets", name, cause)


def _covers(budget: PodDisruptionBudget, pod: Pod) -> bool:
    if not budget.spec.HasField("selector"):
        return False
    return selectors.from_message(budget.spec.selector).matches(pod.metadata.labels)
