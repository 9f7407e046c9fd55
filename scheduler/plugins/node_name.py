"""A Pod that names its node fits only there.

Source: pkg/scheduler/framework/plugins/nodename/node_name.go.
"""

from collections.abc import Sequence

from podpath.api import scheme
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

_REJECTED = unresolvable("NodeName", "node(s) didn't match the requested node name")


class NodeName:
    name = "NodeName"

    def events_to_register(self) -> Sequence[Registration]:
        return (Registration(scheme.NODES, Action.ADD),)

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        wanted = pod.pod.spec.nodeName
        return SUCCESS if not wanted or wanted == node.name else _REJECTED
