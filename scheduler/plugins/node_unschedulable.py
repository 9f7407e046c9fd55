"""A cordoned node takes only Pods that tolerate it.

Source: pkg/scheduler/framework/plugins/nodeunschedulable/node_unschedulable.go.
"""

from collections.abc import Sequence

from podpath.api import scheme
from podpath.api.tolerations import tolerates
from protos.k8s.core_v1_pb2 import Node, Taint
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

_TAINT = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
_REJECTED = unresolvable("NodeUnschedulable", "node(s) were unschedulable")


class NodeUnschedulable:
    name = "NodeUnschedulable"

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.NODES, Action.ADD | Action.NODE_TAINTS, _is_open_now),
            Registration(
                scheme.PODS,
                Action.POD_TOLERATIONS,
                lambda pod, _old, new: new is not None and new.uid == pod.uid and _tolerates(new),
            ),
        )

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        assert node.node is not None
        if not node.node.spec.unschedulable:
            return SUCCESS
        return SUCCESS if _tolerates(pod) else _REJECTED


def _tolerates(pod: PodInfo) -> bool:
    return any(tolerates(toleration, _TAINT) for toleration in pod.pod.spec.tolerations)


def _is_open_now(pod: PodInfo, old: Node | None, new: Node) -> bool:
    if old is None:
        return not new.spec.unschedulable or _tolerates(pod)
    return old.spec.unschedulable and not new.spec.unschedulable
