"""Whether the node takes a Pod that was assigned to it. Pure.

Source: pkg/kubelet/lifecycle/predicate.go, handlers.go, pkg/kubelet/preemption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubelet.pod_status import Verdict
from podpath.api import quantity
from protos.k8s import core_v1_pb2 as core


@dataclass(frozen=True, slots=True)
class NodeOffer:
    """Allocatable (cpu in millicores, all else whole), labels and name of the node."""

    name: str
    allocatable: Mapping[str, int]
    labels: Mapping[str, str]


def allocatable_of(node: core.Node) -> dict[str, int]:
    amounts = node.status.allocatable
    return {
        name: quantity.milli_value(amounts[name].string)
        if name == "cpu"
        else quantity.value(amounts[name].string)
        for name in amounts
    }


Requests = Mapping[str, int]
"""As `pod_requests` gives them."""


def admit(
    pod: core.Pod, requests: Requests, others: Sequence[Requests], offer: NodeOffer
) -> Verdict | None:
    """The verdict that rejects the Pod, or None when it fits. `others` are the requests of the
    Pods that the node runs already."""
    if pod.spec.os.name not in ("", "linux"):
        return Verdict(
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        )
    for key, value in pod.spec.nodeSelector.items():
        if offer.labels.get(key) != value:
            return Verdict("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed")
    return _fits(requests, others, offer)


def _fits(requests: Requests, others: Sequence[Requests], offer: NodeOffer) -> Verdict | None:
    limit = offer.allocatable.get("pods", 0)
    if len(others) + 1 > limit:
        return _out_of("pods", 1, len(others), limit)
    wanted = {name: amount for name, amount in requests.items() if amount > 0}
    if not wanted:
        return None
    used: dict[str, int] = {}
    for other in others:
        for name, amount in other.items():
            used[name] = used.get(name, 0) + amount
    for name, amount in wanted.items():
        if name not in offer.allocatable and name != "cpu" and name != "memory":
            # An extended resource that the node does not offer is somebody else's to check.
            continue
        capacity = offer.allocatable.get(name, 0)
        if used.get(name, 0) + amount > capacity:
            return _out_of(name, amount, used.get(name, 0), capacity)
    return None


def _out_of(name: str, requested: int, used: int, capacity: int) -> Verdict:
    message = (
        f"Pod was rejected: Node didn't have enough resource: {name}, "
        f"requested: {requested}, used: {used}, capacity: {capacity}"
    )
    return Verdict(f"OutOf{name}", message)
