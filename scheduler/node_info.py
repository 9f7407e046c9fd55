"""A node and what its Pods, bound or assumed, take of it.

Source: pkg/scheduler/framework/types.go (NodeInfo, HostPortInfo).
"""

from collections import Counter
from collections.abc import Iterable

from podpath.api import quantity
from podpath.api.host_ports import HostPort, conflict
from protos.k8s.core_v1_pb2 import Node
from scheduler.pod_info import PodInfo
from scheduler.resources import NOTHING, Resources, ResourceSum

__all__ = ["NodeInfo", "PodInfo"]


class NodeInfo:
    """Changed in place by the cache; `clone` for what-if questions."""

    __slots__ = (
        "allocatable",
        "allowed_pods",
        "claims",
        "generation",
        "images",
        "labels",
        "name",
        "node",
        "nonzero_requested",
        "pods",
        "pods_with_affinity",
        "pods_with_required_anti_affinity",
        "ports",
        "requested",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Node | None = None
        self.labels: dict[str, str] = {}
        self.images: dict[str, int] = {}  # name -> size in bytes
        self.pods: dict[str, PodInfo] = {}  # by uid
        self.pods_with_affinity: dict[str, PodInfo] = {}
        self.pods_with_required_anti_affinity: dict[str, PodInfo] = {}
        self.allocatable: Resources = NOTHING
        self.allowed_pods = 0
        self.requested = ResourceSum()
        self.nonzero_requested = ResourceSum()
        self.ports: Counter[tuple[str, str, int]] = Counter()
        self.claims: Counter[tuple[str, str]] = Counter()  # (namespace, PVC name)
        self.generation = 0

    def set_node(self, node: Node | None) -> None:
        """None: the node is gone, but Pods bound to it are still known."""
        self.node = node
        self.generation += 1
        if node is None:
            self.labels, self.images = {}, {}
            return
        self.labels = dict(node.metadata.labels)
        self.images = {name: i.sizeBytes for i in node.status.images for name in i.names}
        allocatable = node.status.allocatable
        self.allocatable = Resources.parse(allocatable)
        self.allowed_pods = (
            quantity.value(allocatable["pods"].string) if "pods" in allocatable else 0
        )

    def add(self, pod: PodInfo) -> None:
        self.pods[pod.uid] = pod
        self._count(pod, 1)
        if pod.terms.any:
            self.pods_with_affinity[pod.uid] = pod
            if pod.terms.required_anti_affinity:
                self.pods_with_required_anti_affinity[pod.uid] = pod

    def remove(self, uid: str) -> PodInfo:
        """Returns what was removed. Raises: KeyError."""
        pod = self.pods.pop(uid)
        self._count(pod, -1)
        self.pods_with_affinity.pop(uid, None)
        self.pods_with_required_anti_affinity.pop(uid, None)
        return pod

    def _count(self, pod: PodInfo, sign: int) -> None:
        self.requested.add(pod.request, sign)
        self.nonzero_requested.add(pod.nonzero_request, sign)
        self.generation += 1
        for port in pod.host_ports:
            self.ports[port] += sign
            if not self.ports[port]:
                del self.ports[port]
        for claim in pod.claims:
            self.claims[claim] += sign
            if not self.claims[claim]:
                del self.claims[claim]

    def has_port_conflict(self, wanted: Iterable[HostPort]) -> bool:
        return bool(self.ports) and conflict(wanted, self.ports)

    def clone(self) -> "NodeInfo":
        """A copy whose Pods may come and go; the messages are shared."""
        twin = NodeInfo(self.name)
        twin.node, twin.labels, twin.images = self.node, self.labels, self.images
        twin.allocatable, twin.allowed_pods = self.allocatable, self.allowed_pods
        twin.generation = self.generation
        twin.pods = dict(self.pods)
        twin.pods_with_affinity = dict(self.pods_with_affinity)
        twin.pods_with_required_anti_affinity = dict(self.pods_with_required_anti_affinity)
        twin.requested = self.requested.copy()
        twin.nonzero_requested = self.nonzero_requested.copy()
        twin.ports = Counter(self.ports)
        twin.claims = Counter(self.claims)
        return twin
