"""Pods for which preemption made room: each has a claim to the node it was nominated for.

Source: pkg/scheduler/backend/queue/nominator.go.
"""

from collections.abc import Sequence

from protos.k8s.core_v1_pb2 import Pod
from scheduler.pod_info import PodInfo


class Nominator:
    """Nominated Pods by node. A Pod has at most one nomination."""

    def __init__(self) -> None:
        self._by_node: dict[str, dict[str, PodInfo]] = {}
        self._node_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._node_of)

    def add(self, pod: PodInfo, node_name: str) -> None:
        self.remove(pod.uid)
        self._by_node.setdefault(node_name, {})[pod.uid] = pod
        self._node_of[pod.uid] = node_name

    def update(self, old: Pod, new: PodInfo) -> None:
        """The Pod changed. A nomination that its status does not show yet stays."""
        name = new.pod.status.nominatedNodeName
        if not name and not old.status.nominatedNodeName:
            name = self.node_of(new.uid)
        if name:
            self.add(new, name)
        else:
            self.remove(new.uid)

    def remove(self, uid: str) -> None:
        node_name = self._node_of.pop(uid, None)
        if node_name is not None:
            pods = self._by_node[node_name]
            del pods[uid]
            if not pods:
                del self._by_node[node_name]

    def node_of(self, uid: str) -> str:
        """The node's name; empty without a nomination."""
        return self._node_of.get(uid, "")

    def nodes(self) -> Sequence[str]:
        """Names of nodes that somebody is nominated for."""
        return list(self._by_node)

    def for_node(self, node_name: str) -> Sequence[PodInfo]:
        pods = self._by_node.get(node_name)
        return list(pods.values()) if pods else ()

    def rivals(self, pod: PodInfo, node_name: str) -> Sequence[PodInfo]:
        """Others nominated there whose priority is at least the Pod's: it must fit beside them."""
        if not self._by_node:
            return ()
        return [
            other
            for other in self.for_node(node_name)
            if other.priority >= pod.priority and other.uid != pod.uid
        ]
