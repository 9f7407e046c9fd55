"""A Pod that names its node fits only there.

Source: pkg/scheduler/framework/plugins/nodename/node_name.go.
"""

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo, PodInfo

_REJECTED = unresolvable("NodeName", "node(s) didn't match the requested node name")


class NodeName:
    name = "NodeName"

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        wanted = pod.pod.spec.nodeName
        return SUCCESS if not wanted or wanted == node.name else _REJECTED
