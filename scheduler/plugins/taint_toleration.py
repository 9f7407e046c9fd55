"""NoSchedule and NoExecute taints keep Pods away; PreferNoSchedule taints lower the score.

Source: pkg/scheduler/framework/plugins/tainttoleration/taint_toleration.go.
"""

from collections.abc import Sequence

from podpath.api import scheme
from podpath.api.tolerations import first_untolerated, tolerates
from protos.k8s.core_v1_pb2 import Node
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo
from scheduler.plugins.normalize import default_normalize
from scheduler.pod_info import PodInfo

_HARD = ("NoSchedule", "NoExecute")
_SOFT = "PreferNoSchedule"


class TaintToleration:
    name = "TaintToleration"

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.NODES, Action.ADD | Action.NODE_TAINTS, _tolerates_now),
            Registration(
                scheme.PODS,
                Action.POD_TOLERATIONS,
                lambda pod, _old, new: new is not None and new.uid == pod.uid,
            ),
        )

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        assert node.node is not None
        taints = node.node.spec.taints
        if not taints:
            return SUCCESS
        taint = first_untolerated(taints, pod.pod.spec.tolerations, _HARD)
        if taint is None:
            return SUCCESS
        return unresolvable(
            self.name, f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
        )

    def pre_score(self, state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        tolerations = [t for t in pod.pod.spec.tolerations if t.effect in ("", _SOFT)]
        state.write(self.name, tolerations)
        return SUCCESS

    def score(self, state: CycleState, _pod: PodInfo, node: NodeInfo) -> int:
        """How many soft taints of the node the Pod does not tolerate."""
        assert node.node is not None
        tolerations = state.read(self.name)
        return sum(
            taint.effect == _SOFT and not any(tolerates(t, taint) for t in tolerations)
            for taint in node.node.spec.taints
        )

    def normalize(self, _state: CycleState, _pod: PodInfo, scores: list[int]) -> None:
        default_normalize(scores, reverse=True)


def _tolerates_now(pod: PodInfo, old: Node | None, new: Node) -> bool:
    def tolerated(node: Node) -> bool:
        return first_untolerated(node.spec.taints, pod.pod.spec.tolerations, _HARD) is None

    return tolerated(new) and (old is None or not tolerated(old))
