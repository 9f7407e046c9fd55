"""What the scheduler believes the cluster is: nodes, and the Pods on them, assumed ones included.

    (none) --assume--> assumed --add (the watch confirms)--> bound --remove--> (none)
                          |--forget (binding failed)--> (none)

A decision is synchronous, so the cache itself is the snapshot that it sees.

Source: pkg/scheduler/backend/cache/cache.go.
"""

from collections.abc import Sequence

from protos.k8s.core_v1_pb2 import Node, Pod
from scheduler.node_info import NodeInfo, PodInfo


class Cache:
    """Nodes by name, Pods by uid."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}
        self._listed: list[NodeInfo] | None = None
        self._places: dict[str, str] = {}  # uid -> node name
        self._assumed: set[str] = set()

    def nodes(self) -> Sequence[NodeInfo]:
        """Those that exist, in the order in which they came."""
        if self._listed is None:
            self._listed = [info for info in self._nodes.values() if info.node is not None]
        return self._listed

    def node(self, name: str) -> NodeInfo | None:
        return self._nodes.get(name)

    def set_node(self, node: Node) -> None:
        name = node.metadata.name
        info = self._info(name)
        if info.node is None:
            self._listed = None
        info.set_node(node)

    def remove_node(self, name: str) -> None:
        info = self._nodes.get(name)
        if info is None:
            return
        info.set_node(None)
        self._listed = None
        self._drop_if_empty(info)

    def assume(self, pod: PodInfo, node_name: str) -> None:
        """Counts the Pod there before etcd does."""
        self._place(pod, node_name)
        self._assumed.add(pod.uid)

    def forget(self, uid: str) -> None:
        """The binding of an assumed Pod failed. Nothing happens when the watch confirmed it."""
        if uid in self._assumed:
            self._displace(uid)

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def add(self, pod: Pod) -> None:
        """A bound Pod as the watch tells it: new, changed, or confirming an assumption."""
        uid, node_name = pod.metadata.uid, pod.spec.nodeName
        if self._places.get(uid) == node_name and uid in self._assumed:
            self._assumed.discard(uid)
            return
        self._displace(uid)
        self._place(PodInfo(pod), node_name)

    def remove(self, uid: str) -> None:
        self._displace(uid)

    def __contains__(self, uid: object) -> bool:
        return uid in self._places

    def _info(self, name: str) -> NodeInfo:
        info = self._nodes.get(name)
        if info is None:
            info = self._nodes[name] = NodeInfo(name)
        return info

    def _place(self, pod: PodInfo, node_name: str) -> None:
        self._info(node_name).add(pod)
        self._places[pod.uid] = node_name

    def _displace(self, uid: str) -> None:
        node_name = self._places.pop(uid, None)
        self._assumed.discard(uid)
        if node_name is not None:
            info = self._nodes[node_name]
            info.remove(uid)
            self._drop_if_empty(info)

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if info.node is None and not info.pods:
            del self._nodes[info.name]
