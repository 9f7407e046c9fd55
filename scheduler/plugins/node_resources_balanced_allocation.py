"""Nodes whose resources would be used in equal proportions score higher.

Source: pkg/scheduler/framework/plugins/noderesources/balanced_allocation.go.
"""

from collections.abc import Sequence

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SUCCESS, Status
from scheduler.node_info import NodeInfo
from scheduler.plugins.resource_scores import DEFAULT_RESOURCES, ResourceSpec, amounts, balanced
from scheduler.pod_info import PodInfo


class NodeResourcesBalancedAllocation:
    name = "NodeResourcesBalancedAllocation"

    def __init__(self, resources: Sequence[ResourceSpec] = DEFAULT_RESOURCES) -> None:
        self.resources = tuple(resources)

    def pre_score(self, _state: CycleState, _pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        return SUCCESS

    def score(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        requested, allocatable = amounts(pod, node, self.resources, nonzero=False)
        return balanced(requested, allocatable)
