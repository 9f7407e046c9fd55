"""What the scheduler believes the cluster is: nodes, and the Pods on them, assumed ones included.

    (none) --assume--> assumed --add (the watch confirms)--> bound --remove--> (none)
                          |--forget (binding failed)--> (none)

A decision is synchronous, so the cache itself is the snapshot that it sees.

Source: pkg/scheduler/backend/cache/{cache,node_tree,snapshot}.go.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Protocol

from protos.k8s.core_v1_pb2 import Node, Pod
from scheduler.framework.handle import ImageState
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

_ZONE_LABELS = (
    ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
)


class Observer(Protocol):
    """Follows every change, after it was made."""

    def node_changed(self, node: NodeInfo) -> None:
        """New, updated, or gone (then `node.node` is None)."""

    def pod_placed(self, node: NodeInfo, pod: PodInfo) -> None: ...

    def pod_displaced(self, node: NodeInfo, pod: PodInfo) -> None: ...


class Cache:
    """Nodes by name, Pods by uid."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}
        self._listed: list[NodeInfo] | None = None
        self._places: dict[str, str] = {}  # uid -> node name
        self._assumed: set[str] = set()
        self._with_affinity: dict[str, NodeInfo] = {}
        self._with_anti_affinity: dict[str, NodeInfo] = {}
        self._images: dict[str, dict[str, int]] = {}  # name -> node name -> size
        self._priorities: Counter[int] = Counter()
        self._observers: list[Observer] = []

    def observe(self, observer: Observer) -> None:
        """Follows changes from now on."""
        self._observers.append(observer)

    def nodes(self) -> Sequence[NodeInfo]:
        """Those that exist, one of each zone in turn, so that a search that stops early has seen
        all zones."""
        if self._listed is None:
            by_zone: dict[str, list[NodeInfo]] = {}
            for info in self._nodes.values():
                if info.node is not None:
                    by_zone.setdefault(zone_of(info.labels), []).append(info)
            turns = zip_longest(*by_zone.values())
            self._listed = [info for turn in turns for info in turn if info is not None]
        return self._listed

    def node(self, name: str) -> NodeInfo | None:
        return self._nodes.get(name)

    def nodes_with_affinity(self) -> Sequence[NodeInfo]:
        return _existing(self._with_affinity.values())

    def nodes_with_required_anti_affinity(self) -> Sequence[NodeInfo]:
        return _existing(self._with_anti_affinity.values())

    def image(self, name: str) -> ImageState | None:
        sizes = self._images.get(name)
        return ImageState(next(iter(sizes.values())), len(sizes)) if sizes else None

    def is_claim_used(self, namespace: str, name: str) -> bool:
        key = (namespace, name)
        return any(key in info.claims for info in self._nodes.values() if info.claims)

    def lowest_priority(self) -> int | None:
        """Of all placed Pods; None when there are none."""
        return min(self._priorities, default=None)

    def set_node(self, node: Node) -> None:
        name = node.metadata.name
        info = self._info(name)
        before = None if info.node is None else zone_of(info.labels)
        self._count_images(info, -1)
        info.set_node(node)
        self._count_images(info, 1)
        if before is None or before != zone_of(info.labels):
            self._listed = None
        for observer in self._observers:
            observer.node_changed(info)

    def remove_node(self, name: str) -> None:
        info = self._nodes.get(name)
        if info is None:
            return
        self._count_images(info, -1)
        info.set_node(None)
        self._listed = None
        self._drop_if_empty(info)
        for observer in self._observers:
            observer.node_changed(info)

    def assume(self, pod: PodInfo, node_name: str) -> None:
        """Counts the Pod there before etcd does."""
        self._place(pod, node_name)
        self._assumed.add(pod.uid)

    def forget(self, uid: str) -> PodInfo | None:
        """The binding of an assumed Pod failed. Nothing happens when the watch confirmed it.

        Returns the Pod as it was counted, on its node.
        """
        return self._displace(uid) if uid in self._assumed else None

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def add(self, pod: Pod) -> PodInfo | None:
        """A bound Pod as the watch tells it: new, changed, or confirming an assumption.

        Returns what was known of it before; None for a new one.
        """
        uid, node_name = pod.metadata.uid, pod.spec.nodeName
        if self._places.get(uid) == node_name:
            self._assumed.discard(uid)
            info = self._nodes[node_name].pods[uid]
            if not _counts_differently(info.pod, pod):
                info.pod = pod
                return info
        old = self._displace(uid)
        self._place(PodInfo(pod), node_name)
        return old

    def remove(self, uid: str) -> PodInfo | None:
        """The Pod is gone. Returns it as it was counted, on its node; None: it was not here."""
        return self._displace(uid)

    def placed(self, uid: str) -> PodInfo | None:
        node_name = self._places.get(uid)
        return self._nodes[node_name].pods[uid] if node_name is not None else None

    def __contains__(self, uid: object) -> bool:
        return uid in self._places

    def _info(self, name: str) -> NodeInfo:
        info = self._nodes.get(name)
        if info is None:
            info = self._nodes[name] = NodeInfo(name)
        return info

    def _place(self, pod: PodInfo, node_name: str) -> None:
        info = self._info(node_name)
        info.add(pod)
        self._places[pod.uid] = node_name
        self._priorities[pod.priority] += 1
        if pod.terms.any:
            self._index(info)
        for observer in self._observers:
            observer.pod_placed(info, pod)

    def _displace(self, uid: str) -> PodInfo | None:
        node_name = self._places.pop(uid, None)
        self._assumed.discard(uid)
        if node_name is None:
            return None
        info = self._nodes[node_name]
        pod = info.remove(uid)
        self._priorities[pod.priority] -= 1
        if not self._priorities[pod.priority]:
            del self._priorities[pod.priority]
        if pod.terms.any:
            self._index(info)
        for observer in self._observers:
            observer.pod_displaced(info, pod)
        self._drop_if_empty(info)
        return pod.on(node_name)

    def _index(self, info: NodeInfo) -> None:
        """Keeps the lists of nodes whose Pods have inter-pod terms."""
        for has, listed in (
            (info.pods_with_affinity, self._with_affinity),
            (info.pods_with_required_anti_affinity, self._with_anti_affinity),
        ):
            if has:
                listed[info.name] = info
            elif info.name in listed:
                del listed[info.name]

    def _count_images(self, info: NodeInfo, sign: int) -> None:
        for name, size in info.images.items():
            if sign > 0:
                self._images.setdefault(name, {})[info.name] = size
            else:
                sizes = self._images[name]
                sizes.pop(info.name, None)
                if not sizes:
                    del self._images[name]

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if info.node is None and not info.pods:
            self._nodes.pop(info.name, None)


def _existing(nodes: Iterable[NodeInfo]) -> list[NodeInfo]:
    return [info for info in nodes if info.node is not None]


def zone_of(labels: dict[str, str]) -> str:
    """Region and zone as one text; empty for nodes without both."""
    parts = [next((labels[key] for key in keys if key in labels), "") for keys in _ZONE_LABELS]
    return "\0".join(parts) if any(parts) else ""


def _counts_differently(old: Pod, new: Pod) -> bool:
    """Whether a confirmed Pod has to be parsed again; the binding itself changes nothing."""
    return (
        old.metadata.labels != new.metadata.labels
        or old.metadata.HasField("deletionTimestamp") != new.metadata.HasField("deletionTimestamp")
        or list(old.spec.containers) != list(new.spec.containers)
        or old.spec.priority != new.spec.priority
    )
