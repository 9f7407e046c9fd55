"""A Pod's host ports must be free on the node.

Source: pkg/scheduler/framework/plugins/nodeports/node_ports.go.
"""

from collections.abc import Sequence

from podpath.api import scheme
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.status import SKIP, SUCCESS, Status, unschedulable
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

_REJECTED = unschedulable("NodePorts", "node(s) didn't have free ports for the requested pod ports")


class NodePorts:
    name = "NodePorts"

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.PODS, Action.DELETE, _frees_a_port),
            Registration(scheme.NODES, Action.ADD),
        )

    def pre_filter(self, _state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        return SUCCESS if pod.host_ports else SKIP

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        return _REJECTED if node.has_port_conflict(pod.host_ports) else SUCCESS


def _frees_a_port(pod: PodInfo, old: PodInfo, _new: None) -> bool:
    if not old.pod.spec.nodeName or not old.host_ports:
        return False
    left_behind = NodeInfo("")
    left_behind.add(old)
    return left_behind.has_port_conflict(pod.host_ports)
