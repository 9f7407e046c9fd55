"""NoSchedule and NoExecute taints keep Pods away; PreferNoSchedule taints lower the score.

Source: pkg/scheduler/framework/plugins/tainttoleration/taint_toleration.go.
"""

from collections.abc import Sequence

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo, PodInfo
from scheduler.plugins.normalize import default_normalize
from scheduler.plugins.tolerations import first_untolerated, tolerates

_HARD = ("NoSchedule", "NoExecute")
_SOFT = "PreferNoSchedule"


class TaintToleration:
    name = "TaintToleration"

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
