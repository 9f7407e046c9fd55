"""nodeSelector and node affinity: required terms filter, preferred terms score.

Source: pkg/scheduler/framework/plugins/nodeaffinity/node_affinity.go.
"""

from collections.abc import Sequence

from protos.k8s.core_v1_pb2 import Pod
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SKIP, SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo, PodInfo
from scheduler.plugins.node_selectors import matches_required, matches_term
from scheduler.plugins.normalize import default_normalize

_REJECTED = unresolvable("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def _has_required(pod: Pod) -> bool:
    affinity = pod.spec.affinity.nodeAffinity
    return bool(pod.spec.nodeSelector) or affinity.HasField(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )


class NodeAffinity:
    name = "NodeAffinity"

    def pre_filter(self, _state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        return SUCCESS if _has_required(pod.pod) else SKIP

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        assert node.node is not None
        return SUCCESS if matches_required(pod.pod, node.node) else _REJECTED

    def pre_score(self, _state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        affinity = pod.pod.spec.affinity.nodeAffinity
        return SUCCESS if affinity.preferredDuringSchedulingIgnoredDuringExecution else SKIP

    def score(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """The summed weights of the preferred terms that match."""
        assert node.node is not None
        terms = pod.pod.spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution
        return sum(t.weight for t in terms if t.weight and matches_term(t.preference, node.node))

    def normalize(self, _state: CycleState, _pod: PodInfo, scores: list[int]) -> None:
        default_normalize(scores, reverse=False)
