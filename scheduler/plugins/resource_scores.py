"""How full a node would be with the Pod on it, as a score.

Source: pkg/scheduler/framework/plugins/noderesources/{resource_allocation,least_allocated,
most_allocated,requested_to_capacity_ratio,balanced_allocation}.go, plugins/helper/shape_score.go.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scheduler.framework.interface import MAX_NODE_SCORE
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

Scorer = Callable[[Sequence[int], Sequence[int], Sequence[int]], int]
"""(requested, allocatable, weights) of each resource -> 0..100; allocatable 0 leaves it out."""


@dataclass(frozen=True, slots=True)
class ResourceSpec:
    """A resource that counts, and how much (1..100)."""

    name: str
    weight: int = 1


DEFAULT_RESOURCES = (ResourceSpec("cpu"), ResourceSpec("memory"))
NATIVE = ("cpu", "memory", "ephemeral-storage")


def amounts(
    pod: PodInfo, node: NodeInfo, resources: Sequence[ResourceSpec], *, nonzero: bool
) -> tuple[list[int], list[int]]:
    """(requested with the Pod, allocatable) by resource.

    `nonzero` counts the defaults of containers that request nothing. An extended resource that the
    Pod does not ask for is left out.
    """
    asked = pod.nonzero_request if nonzero else pod.request
    used = node.nonzero_requested if nonzero else node.requested
    requested: list[int] = []
    allocatable: list[int] = []
    for resource in resources:
        name = resource.name
        request = asked.get(name)
        if request == 0 and name not in NATIVE:
            requested.append(0)
            allocatable.append(0)
            continue
        base = used.get(name) if name in ("cpu", "memory") else node.requested.get(name)
        capacity = node.allocatable.get(name)
        requested.append(base + request if capacity else 0)
        allocatable.append(capacity)
    return requested, allocatable


def usual_scores(pod: PodInfo, node: NodeInfo) -> tuple[int, int] | None:
    """(least allocated, balanced) of processor and memory alike: what the default profile asks of
    each node, in one go. None where the general way has to be gone."""
    most = node.allocatable
    cpu, memory = most.milli_cpu, most.memory
    if cpu == 0 or memory == 0:
        return None
    used, asked = node.nonzero_requested, pod.nonzero_request
    free_cpu = cpu - used.milli_cpu - asked.milli_cpu
    free_memory = memory - used.memory - asked.memory
    least = (
        (free_cpu * MAX_NODE_SCORE // cpu if free_cpu > 0 else 0)
        + (free_memory * MAX_NODE_SCORE // memory if free_memory > 0 else 0)
    ) // 2
    used, asked = node.requested, pod.request
    share_of_cpu = min((used.milli_cpu + asked.milli_cpu) / cpu, 1.0)
    share_of_memory = min((used.memory + asked.memory) / memory, 1.0)
    return least, int((1 - abs((share_of_cpu - share_of_memory) / 2)) * MAX_NODE_SCORE)


def least_requested(requested: int, capacity: int) -> int:
    """The free share in percent, 0 when over-requested."""
    if capacity == 0 or requested > capacity:
        return 0
    return (capacity - requested) * MAX_NODE_SCORE // capacity


def most_requested(requested: int, capacity: int) -> int:
    """The used share in percent, 100 when over-requested."""
    if capacity == 0:
        return 0
    return min(requested, capacity) * MAX_NODE_SCORE // capacity


def _weighted_mean(score: Callable[[int, int], int]) -> Scorer:
    def scorer(requested: Sequence[int], allocatable: Sequence[int], weights: Sequence[int]) -> int:
        total = weight_sum = 0
        for used, capacity, weight in zip(requested, allocatable, weights, strict=True):
            if capacity:
                total += score(used, capacity) * weight
                weight_sum += weight
        return total // weight_sum if weight_sum else 0

    return scorer


least_allocated = _weighted_mean(least_requested)
most_allocated = _weighted_mean(most_requested)

MAX_CUSTOM_SCORE = 10


def requested_to_capacity_ratio(shape: Sequence[tuple[int, int]]) -> Scorer:
    """Scores by a broken line through points (utilization 0..100, score 0..10)."""
    line = [(u, s * (MAX_NODE_SCORE // MAX_CUSTOM_SCORE)) for u, s in shape]

    def at(utilization: int) -> int:
        previous: tuple[int, int] | None = None
        for end, score in line:
            if utilization <= end:
                if previous is None:
                    return score
                start, first = previous
                return first + _quotient((score - first) * (utilization - start), end - start)
            previous = (end, score)
        return line[-1][1]

    def scorer(requested: Sequence[int], allocatable: Sequence[int], weights: Sequence[int]) -> int:
        total = weight_sum = 0
        for used, capacity, weight in zip(requested, allocatable, weights, strict=True):
            if not capacity:
                continue
            score = at(100 if used > capacity else used * 100 // capacity)
            if score > 0:
                total += score * weight
                weight_sum += weight
        # Half rounds up: both numbers are positive.
        return math.floor(total / weight_sum + 0.5) if weight_sum else 0

    return scorer


def _quotient(dividend: int, divisor: int) -> int:
    """Division towards zero, as Go's."""
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def balanced(requested: Sequence[int], allocatable: Sequence[int]) -> int:
    """100 when all resources are used in the same proportion, less the more they differ."""
    fractions = [
        min(used / capacity, 1.0)
        for used, capacity in zip(requested, allocatable, strict=True)
        if capacity
    ]
    deviation = 0.0
    if len(fractions) == 2:
        deviation = abs((fractions[0] - fractions[1]) / 2)
    elif len(fractions) > 2:
        total = 0.0
        for fraction in fractions:
            total += fraction
        mean = total / len(fractions)
        squares = 0.0
        for fraction in fractions:
            squares += (fraction - mean) * (fraction - mean)
        deviation = math.sqrt(squares / len(fractions))
    return int((1 - deviation) * MAX_NODE_SCORE)
