"""The scheduling cycle: one Pod, one state of the cluster, one decision. Pure.

1. PreFilter, 2. Filter until enough feasible nodes are found, 3. PreScore, Score, Normalize,
4. the best node, by lot among equals.

Source: pkg/scheduler/schedule_one.go.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.runtime import Framework, NodeScore
from scheduler.framework.status import Code, FitError, Status
from scheduler.node_info import NodeInfo, PodInfo

MIN_FEASIBLE_NODES = 100
_BASE_PERCENTAGE = 50
_NODES_PER_PERCENT = 125
_MIN_PERCENTAGE = 5


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the Pod goes, or why nowhere (`fit_error`). `scores` covers the feasible nodes."""

    node_name: str
    evaluated: int
    feasible: int
    scores: Sequence[NodeScore]
    state: CycleState
    fit_error: FitError | None = None


def feasible_nodes_wanted(node_count: int, percentage: int = 0) -> int:
    """After how many feasible nodes the search may stop; `percentage` 0 means adaptive."""
    if node_count < MIN_FEASIBLE_NODES:
        return node_count
    if percentage == 0:
        percentage = max(_BASE_PERCENTAGE - node_count // _NODES_PER_PERCENT, _MIN_PERCENTAGE)
    return max(node_count * percentage // 100, MIN_FEASIBLE_NODES)


class SchedulingAlgorithm:
    """Remembers only where the last search stopped, so that all nodes get their turn."""

    def __init__(self, rng: random.Random, percentage_of_nodes_to_score: int = 0) -> None:
        self._rng = rng
        self._percentage = percentage_of_nodes_to_score
        self._next_start = 0

    def schedule(self, framework: Framework, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Decision:
        """Decides. Raises: PluginError."""
        state = CycleState()
        # 1.
        status = framework.pre_filter(state, pod, nodes)
        if status.code is not Code.SUCCESS:
            return self._rejected(framework, state, pod, nodes, {}, status)
        # 2.
        feasible, by_node = self._filter(framework, state, pod, nodes)
        evaluated = len(feasible) + len(by_node)
        if not feasible:
            return self._rejected(framework, state, pod, nodes, by_node, None)
        if len(feasible) == 1:
            return Decision(feasible[0].name, evaluated, 1, (), state)
        # 3.
        scores = framework.score(state, pod, feasible)
        # 4.
        best = max(score.total for score in scores)
        chosen = self._rng.choice([score.name for score in scores if score.total == best])
        return Decision(chosen, evaluated, len(feasible), scores, state)

    def _filter(
        self, framework: Framework, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> tuple[list[NodeInfo], dict[str, Status]]:
        wanted = feasible_nodes_wanted(len(nodes), self._percentage)
        filters = framework.filters_for(state)
        feasible: list[NodeInfo] = []
        by_node: dict[str, Status] = {}
        count = len(nodes)
        for offset in range(count):
            node = nodes[(self._next_start + offset) % count]
            for plugin in filters:
                status = plugin.filter(state, pod, node)
                if status.code is not Code.SUCCESS:
                    by_node[node.name] = status
                    break
            else:
                feasible.append(node)
                if len(feasible) >= wanted:
                    break
        if count:
            self._next_start = (self._next_start + len(feasible) + len(by_node)) % count
        return feasible, by_node

    def _rejected(
        self,
        framework: Framework,
        state: CycleState,
        pod: PodInfo,
        nodes: Sequence[NodeInfo],
        by_node: dict[str, Status],
        pre_filter: Status | None,
    ) -> Decision:
        nominated, message = framework.post_filter(state, pod, by_node) if nodes else ("", "")
        error = FitError(len(nodes), by_node, pre_filter, message)
        return Decision(nominated, len(by_node), 0, (), state, error)
