"""A cordoned node takes only Pods that tolerate it.

Source: pkg/scheduler/framework/plugins/nodeunschedulable/node_unschedulable.go.
"""

from protos.k8s.core_v1_pb2 import Taint
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo, PodInfo
from scheduler.plugins.tolerations import tolerates

_TAINT = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
_REJECTED = unresolvable("NodeUnschedulable", "node(s) were unschedulable")


class NodeUnschedulable:
    name = "NodeUnschedulable"

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        assert node.node is not None
        if not node.node.spec.unschedulable:
            return SUCCESS
        if any(tolerates(toleration, _TAINT) for toleration in pod.pod.spec.tolerations):
            return SUCCESS
        return _REJECTED
