"""Whether the node takes a Pod that was assigned to it. Pure.

Source: pkg/kubelet/lifecycle/predicate.go, pkg/scheduler/eventhandlers.go (AdmissionCheck).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubelet.pod_resources import pod_requests
from kubelet.pod_status import Verdict
from podpath.api import quantity
from podpath.api.host_ports import HostPort, conflict, host_ports
from podpath.api.node_selectors import matches_required
from podpath.api.tolerations import first_untolerated
from protos.k8s import core_v1_pb2 as core

OS, OS_LABEL = "linux", "kubernetes.io/os"
REJECTED = "Pod was rejected: "
"""Stands before a verdict in the Pod's status; its event has the verdict alone."""


@dataclass(frozen=True, slots=True)
class NodeOffer:
    """The Node, and its allocatable: cpu in millicores, all else whole."""

    node: core.Node
    allocatable: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Resident:
    """What a Pod asks of the node: amounts as `pod_requests` gives them, and host ports."""

    requests: Mapping[str, int]
    ports: Sequence[HostPort] = ()


def resident(pod: core.Pod) -> Resident:
    return Resident(pod_requests(pod), tuple(host_ports(pod)))


def allocatable_of(node: core.Node) -> dict[str, int]:
    amounts = node.status.allocatable
    return {
        name: quantity.milli_value(amounts[name].string)
        if name == "cpu"
        else quantity.value(amounts[name].string)
        for name in amounts
    }


def admit(
    pod: core.Pod, wanted: Resident, others: Sequence[Resident], offer: NodeOffer
) -> Verdict | None:
    """The verdict that rejects the Pod, or None when it fits. `others` runs already."""
    if pod.metadata.labels.get(OS_LABEL, OS) != OS:
        return Verdict(
            "PodOSSelectorNodeLabelDoesNotMatch",
            f"Failed to admit pod as the `{OS_LABEL}` label doesn't match node label",
        )
    if pod.spec.os.name not in ("", OS):
        return Verdict(
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        )
    return _fits(wanted.requests, [other.requests for other in others], offer) or _predicates(
        pod, wanted, others, offer.node
    )


def _predicates(
    pod: core.Pod, wanted: Resident, others: Sequence[Resident], node: core.Node
) -> Verdict | None:
    """What the scheduler asks as well, in its order: a Pod may have come past it."""
    if not matches_required(pod, node):
        return _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    if pod.spec.nodeName != node.metadata.name:
        return _failed("NodeName", "node(s) didn't match the requested node name")
    if conflict(wanted.ports, (port for other in others for port in other.ports)):
        return _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    if first_untolerated(node.spec.taints, pod.spec.tolerations, ("NoExecute",)):
        return _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def _failed(predicate: str, description: str) -> Verdict:
    return Verdict(predicate, f"Predicate {predicate} failed: {description}")


def _fits(
    requests: Mapping[str, int], others: Sequence[Mapping[str, int]], offer: NodeOffer
) -> Verdict | None:
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
        f"Node didn't have enough resource: {name}, "
        f"requested: {requested}, used: {used}, capacity: {capacity}"
    )
    return Verdict(f"OutOf{name}", message)
