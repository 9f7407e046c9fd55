"""A node needs enough unrequested resources; how its use is scored is a matter of strategy.

Source: pkg/scheduler/framework/plugins/noderesources/fit.go.
"""

from collections.abc import Mapping, Sequence

from podpath.api import quantity, scheme
from protos.k8s.core_v1_pb2 import Node
from protos.k8s.resource_pb2 import Quantity
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.status import SUCCESS, Status, unresolvable, unschedulable
from scheduler.node_info import NodeInfo
from scheduler.plugins.resource_scores import (
    DEFAULT_RESOURCES,
    ResourceSpec,
    Scorer,
    amounts,
    least_allocated,
)
from scheduler.pod_info import PodInfo
from scheduler.resources import Resources

_NATIVE_PREFIXES = ("kubernetes.io/", "requests.")


def insufficient(
    pod: PodInfo,
    node: NodeInfo,
    ignored: frozenset[str] = frozenset(),
    ignored_groups: frozenset[str] = frozenset(),
) -> list[tuple[str, bool]]:
    """What is missing: (reason, True if the node could never have enough)."""
    found: list[tuple[str, bool]] = []
    if len(node.pods) + 1 > node.allowed_pods:
        found.append(("Too many pods", False))
    asked, used, most = pod.request, node.requested, node.allocatable
    for name in ("cpu", "memory", "ephemeral-storage"):
        request = asked.get(name)
        if request > 0 and request > most.get(name) - used.get(name):
            found.append((f"Insufficient {name}", request > most.get(name)))
    for name, request in asked.scalars.items():
        if request == 0 or (_is_extended(name) and _is_ignored(name, ignored, ignored_groups)):
            continue
        if request > most.get(name) - used.get(name):
            found.append((f"Insufficient {name}", request > most.get(name)))
    return found


def _is_extended(name: str) -> bool:
    return "/" in name and not any(name.startswith(p) for p in _NATIVE_PREFIXES)


def _is_ignored(name: str, ignored: frozenset[str], groups: frozenset[str]) -> bool:
    return name in ignored or name.split("/")[0] in groups


class NodeResourcesFit:
    name = "NodeResourcesFit"

    def __init__(
        self,
        scorer: Scorer = least_allocated,
        resources: Sequence[ResourceSpec] = DEFAULT_RESOURCES,
        ignored: frozenset[str] = frozenset(),
        ignored_groups: frozenset[str] = frozenset(),
    ) -> None:
        self.scorer = scorer
        self.resources = tuple(resources)
        self._weights = [resource.weight for resource in resources]
        self._ignored = ignored
        self._ignored_groups = ignored_groups

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.PODS, Action.DELETE | Action.POD_SCALE_DOWN, _frees_something),
            Registration(
                scheme.NODES, Action.ADD | Action.NODE_ALLOCATABLE, self._node_may_have_enough
            ),
        )

    def pre_filter(self, _state: CycleState, _pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        return SUCCESS

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        missing = insufficient(pod, node, self._ignored, self._ignored_groups)
        if not missing:
            return SUCCESS
        reasons = [reason for reason, _ in missing]
        if any(never for _, never in missing):
            return unresolvable(self.name, *reasons)
        return unschedulable(self.name, *reasons)

    def ignores(self, name: str) -> bool:
        """An extended resource that an extender takes care of."""
        return _is_extended(name) and _is_ignored(name, self._ignored, self._ignored_groups)

    def fits_easily(self, pod: PodInfo, node: NodeInfo) -> bool:
        """A quick yes for the common case; False means: ask `filter`."""
        asked, used, most = pod.request, node.requested, node.allocatable
        return (
            len(node.pods) < node.allowed_pods
            and asked.milli_cpu <= most.milli_cpu - used.milli_cpu
            and asked.memory <= most.memory - used.memory
            and not asked.ephemeral_storage
            and not asked.scalars
        )

    def pre_score(self, _state: CycleState, _pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        return SUCCESS

    def score(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        requested, allocatable = amounts(pod, node, self.resources, nonzero=True)
        return self.scorer(requested, allocatable, self._weights)

    def _node_may_have_enough(self, pod: PodInfo, old: Node | None, new: Node) -> bool:
        empty = NodeInfo(new.metadata.name)
        empty.set_node(new)
        if insufficient(pod, empty, self._ignored, self._ignored_groups):
            return False
        return old is None or _has_more(pod, old, new)


def _frees_something(pod: PodInfo, old: PodInfo, new: PodInfo | None) -> bool:
    if new is None:
        return bool(old.pod.spec.nodeName or old.pod.status.nominatedNodeName)
    if new.uid == pod.uid:
        return True
    if not new.pod.spec.nodeName:
        return False
    asked = pod.request
    return any(
        asked.get(name) > 0 and old.request.get(name) > new.request.get(name)
        for name in ("cpu", "memory", "ephemeral-storage", *asked.scalars)
    )


def _has_more(pod: PodInfo, old: Node, new: Node) -> bool:
    before, after = old.status.allocatable, new.status.allocatable
    if _pods(after) > _pods(before):
        return True
    had, has = Resources.parse(before), Resources.parse(after)
    asked = pod.request
    return any(
        asked.get(name) > 0 and has.get(name) > had.get(name)
        for name in ("cpu", "memory", "ephemeral-storage", *asked.scalars)
    )


def _pods(allocatable: Mapping[str, Quantity]) -> int:
    return quantity.value(allocatable["pods"].string) if "pods" in allocatable else 0
