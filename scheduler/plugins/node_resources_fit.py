"""A node needs enough unrequested resources; of those that have, the emptier ones score higher.

Source: pkg/scheduler/framework/plugins/noderesources/{fit,least_allocated}.go.
"""

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.interface import MAX_NODE_SCORE
from scheduler.framework.status import SUCCESS, Status, unresolvable, unschedulable
from scheduler.node_info import NodeInfo, PodInfo


def insufficient(pod: PodInfo, node: NodeInfo) -> list[tuple[str, bool]]:
    """What is missing: (reason, True if the node could never have enough)."""
    found: list[tuple[str, bool]] = []
    if len(node.pods) + 1 > node.allowed_pods:
        found.append(("Too many pods", False))
    asked, used, most = pod.request, node.requested, node.allocatable
    for name, request, requested, allocatable in (
        ("cpu", asked.milli_cpu, used.milli_cpu, most.milli_cpu),
        ("memory", asked.memory, used.memory, most.memory),
        (
            "ephemeral-storage",
            asked.ephemeral_storage,
            used.ephemeral_storage,
            most.ephemeral_storage,
        ),
    ):
        if request > 0 and request > allocatable - requested:
            found.append((f"Insufficient {name}", request > allocatable))
    for name, request in asked.scalars.items():
        allocatable = most.scalars.get(name, 0)
        if request > allocatable - used.scalars.get(name, 0):
            found.append((f"Insufficient {name}", request > allocatable))
    return found


def least_allocated(requested: int, capacity: int) -> int:
    """The free share of a resource in percent, 0 when over-requested."""
    if capacity == 0 or requested > capacity:
        return 0
    return (capacity - requested) * MAX_NODE_SCORE // capacity


class NodeResourcesFit:
    name = "NodeResourcesFit"

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        missing = insufficient(pod, node)
        if not missing:
            return SUCCESS
        reasons = [reason for reason, _ in missing]
        if any(never for _, never in missing):
            return unresolvable(self.name, *reasons)
        return unschedulable(self.name, *reasons)

    def score(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """The mean free share of cpu and memory with the Pod on it; weights are 1 and 1."""
        used, more, most = node.nonzero_requested, pod.nonzero_request, node.allocatable
        total = weight = 0
        for requested, capacity in (
            (used.milli_cpu + more.milli_cpu, most.milli_cpu),
            (used.memory + more.memory, most.memory),
        ):
            if capacity > 0:
                total += least_allocated(requested, capacity)
                weight += 1
        return total // weight if weight else 0
