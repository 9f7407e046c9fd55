"""nodeSelector and node affinity: required terms filter, preferred terms score.

Source: pkg/scheduler/framework/plugins/nodeaffinity/node_affinity.go.
"""

from collections.abc import Sequence

from podpath.api import scheme
from podpath.api.node_selectors import matches_any, matches_required, matches_term
from protos.k8s.core_v1_pb2 import Node, Pod
from protos.k8s.core_v1_pb2 import NodeAffinity as NodeAffinityMessage
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.status import SKIP, SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo
from scheduler.plugins.normalize import default_normalize
from scheduler.pod_info import PodInfo

_REJECTED = unresolvable("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
_ENFORCED = unresolvable("NodeAffinity", "node(s) didn't match scheduler-enforced node affinity")
_CONFLICT = unresolvable("NodeAffinity", "pod affinity terms conflict")


def _has_required(pod: Pod) -> bool:
    affinity = pod.spec.affinity.nodeAffinity
    return bool(pod.spec.nodeSelector) or affinity.HasField(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )


def _named_nodes(pod: Pod) -> set[str] | None:
    """The nodes that the required terms name by metadata.name; None when any term does not."""
    affinity = pod.spec.affinity.nodeAffinity
    found: set[str] = set()
    for term in affinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms:
        names: set[str] | None = None
        for field in term.matchFields:
            if field.key == "metadata.name" and field.operator == "In":
                values = set(field.values)
                names = values if names is None else names & values
        if names is None:
            return None
        found |= names
    return found


class NodeAffinity:
    """`added` is an affinity that the profile demands of every Pod besides its own."""

    name = "NodeAffinity"

    def __init__(self, added: NodeAffinityMessage | None = None) -> None:
        self._added = added or NodeAffinityMessage()
        self.has_added_preferred = bool(self._added.preferredDuringSchedulingIgnoredDuringExecution)
        self._has_added = self._added.HasField("requiredDuringSchedulingIgnoredDuringExecution")

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.NODES, Action.ADD | Action.NODE_LABELS, self._node_matches_now),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        if not _has_required(pod.pod) and not self._has_added:
            return SKIP
        affinity = pod.pod.spec.affinity.nodeAffinity
        if affinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms:
            names = _named_nodes(pod.pod)
            if names is not None:
                if not names:
                    return _CONFLICT
                state.narrow(self.name, names)
        return SUCCESS

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        assert node.node is not None
        if self._has_added and not self._matches_added(node.node):
            return _ENFORCED
        return SUCCESS if matches_required(pod.pod, node.node) else _REJECTED

    def _matches_added(self, node: Node) -> bool:
        required = self._added.requiredDuringSchedulingIgnoredDuringExecution
        return matches_any(required.nodeSelectorTerms, node)

    def _node_matches_now(self, pod: PodInfo, old: Node | None, new: Node) -> bool:
        def matches(node: Node) -> bool:
            return (not self._has_added or self._matches_added(node)) and matches_required(
                pod.pod, node
            )

        return matches(new) and (old is None or not matches(old))

    def pre_score(self, _state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        affinity = pod.pod.spec.affinity.nodeAffinity
        own = affinity.preferredDuringSchedulingIgnoredDuringExecution
        added = self._added.preferredDuringSchedulingIgnoredDuringExecution
        return SUCCESS if own or added else SKIP

    def score(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """The summed weights of the preferred terms that match."""
        assert node.node is not None
        own = pod.pod.spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution
        added = self._added.preferredDuringSchedulingIgnoredDuringExecution
        return sum(
            t.weight
            for terms in (added, own)
            for t in terms
            if t.weight and matches_term(t.preference, node.node)
        )

    def normalize(self, _state: CycleState, _pod: PodInfo, scores: list[int]) -> None:
        default_normalize(scores, reverse=False)
