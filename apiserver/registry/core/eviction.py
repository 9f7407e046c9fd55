"""The subresource pods/eviction: a deletion that disruption budgets may refuse.

The budget's status is what its controller last wrote; it is not counted down here.

Source: pkg/registry/core/pod/storage/eviction.go.
"""

from collections.abc import Iterable

from podpath.api import errors, selectors
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.meta_v1_pb2 import StatusCause
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget


def check(pod: Pod, budgets: Iterable[PodDisruptionBudget]) -> None:
    """Raises: TooManyRequests when a budget that covers the Pod allows no disruption now."""
    if pod.status.phase in ("Succeeded", "Failed", "Pending"):
        return
    if pod.metadata.HasField("deletionTimestamp"):
        return
    covering = [budget for budget in budgets if _covers(budget, pod)]
    if len(covering) > 1:
        text = (
            "This pod has more than one PodDisruptionBudget, "
            "which the eviction subresource does not support."
        )
        raise errors.internal_error(text)
    for budget in covering:
        if budget.status.disruptionsAllowed <= 0:
            text = "Cannot evict pod as it would violate the pod's disruption budget."
            error = errors.too_many_requests(text, 0)
            error.status.details.causes.append(
                StatusCause(
                    reason="DisruptionBudget",
                    message=f"The disruption budget {budget.metadata.name} needs "
                    f"{budget.status.desiredHealthy} healthy pods and has "
                    f"{budget.status.currentHealthy} currently",
                )
            )
            raise error


def _covers(budget: PodDisruptionBudget, pod: Pod) -> bool:
    if not budget.spec.HasField("selector"):
        return False
    return selectors.from_message(budget.spec.selector).matches(pod.metadata.labels)
