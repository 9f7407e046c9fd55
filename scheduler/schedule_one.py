"""The scheduling cycle: one Pod, one state of the cluster, one decision. Pure.

1. PreFilter, 2. the nominated node, else Filter until enough feasible nodes are found,
3. PreScore, Score, Normalize, 4. the best node, by lot among equals.

Source: pkg/scheduler/schedule_one.go.
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.interface import Extender, PostFilterResult
from scheduler.framework.runtime import Framework, NodeScore, PluginError
from scheduler.framework.status import Code, FitError, Status, unresolvable
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)

MIN_FEASIBLE_NODES = 100
_BASE_PERCENTAGE = 50
_NODES_PER_PERCENT = 125
_MIN_PERCENTAGE = 5
_DROPPED = unresolvable("Extender")
"""An extender left a node out and does not say why."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a decision came about. Everything in it may be kept: nothing of it changes later."""

    rejected: Mapping[str, Status]
    scores: Sequence[NodeScore]
    chosen_among: Sequence[str]
    """The nodes with the best total; the lot decided between them."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the Pod goes, or why nowhere (`fit_error`).

    `score` is the chosen node's total, None where there was nothing to choose. `explain` tells the
    rest to whoever asks.
    """

    node_name: str
    evaluated: int
    feasible: int
    state: CycleState
    score: int | None = None
    fit_error: FitError | None = None
    post_filter: PostFilterResult | None = None
    explain: Callable[[], Explanation] | None = None


def feasible_nodes_wanted(
    node_count: int, percentage: int = 0, *, any_will_do: bool = False
) -> int:
    """After how many feasible nodes the search may stop; `percentage` 0 means adaptive.

    `any_will_do`: nobody filters or scores those that are found.
    """
    if any_will_do:
        return 1
    if node_count < MIN_FEASIBLE_NODES:
        return node_count
    if percentage == 0:
        percentage = max(_BASE_PERCENTAGE - node_count // _NODES_PER_PERCENT, _MIN_PERCENTAGE)
    return max(node_count * percentage // 100, MIN_FEASIBLE_NODES)


class Algorithm(Protocol):
    """`SchedulingAlgorithm` is the reference; vectorised/algorithm.py decides the same, faster."""

    def schedule(
        self, framework: Framework, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> Decision: ...


class SchedulingAlgorithm:
    """Remembers only where the last search stopped, so that all nodes get their turn."""

    def __init__(
        self,
        rng: random.Random,
        percentage_of_nodes_to_score: int = 0,
        extenders: Sequence[Extender] = (),
    ) -> None:
        self.rng = rng
        self.percentage = percentage_of_nodes_to_score
        self.next_start = 0
        self.extenders = extenders
        self._asks_extenders = any(e.filters or e.scores for e in extenders)

    def schedule(self, framework: Framework, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Decision:
        """Decides. Raises: PluginError."""
        state = CycleState()
        if not nodes:
            return Decision("", 0, 0, state, fit_error=FitError(0, {}))
        # 1.
        status = framework.pre_filter(state, pod, nodes)
        if status.code is not Code.SUCCESS:
            error = FitError(len(nodes), {}, status, absent=status)
            return rejected(framework, state, pod, error)
        # 2.
        by_node: dict[str, Status] = {}
        feasible = self._nominated(framework, state, pod, nodes)
        if not feasible:
            feasible = self._find(framework, state, pod, nodes, by_node)
        evaluated = len(feasible) + len(by_node)
        if not feasible:
            return rejected(framework, state, pod, fit_error(state, len(nodes), by_node))
        if len(feasible) == 1:
            only = feasible[0].name
            explain = lambda: Explanation(by_node, (), (only,))  # noqa: E731
            return Decision(only, evaluated, 1, state, explain=explain)
        # 3.
        scores = framework.score(state, pod, feasible)
        if self.extenders:
            scores = self._extended(pod, feasible, scores)
        # 4.
        best = max(score.total for score in scores)
        among = [score.name for score in scores if score.total == best]
        chosen = among[self.rng.randrange(len(among))]
        explain = lambda: Explanation(by_node, scores, among)  # noqa: E731
        return Decision(chosen, evaluated, len(feasible), state, best, explain=explain)

    def wanted(self, framework: Framework, node_count: int) -> int:
        any_will_do = not self._asks_extenders and not framework.score_plugins
        return feasible_nodes_wanted(node_count, self.percentage, any_will_do=any_will_do)

    def _nominated(
        self, framework: Framework, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> list[NodeInfo]:
        """The node that preemption made room on goes before all others."""
        name = framework.nominator.node_of(pod.uid) or pod.pod.status.nominatedNodeName
        if not name:
            return []
        node = next((node for node in nodes if node.name == name), None)
        if node is None or framework.filter_node(state, pod, node).code is not Code.SUCCESS:
            return []
        return self._pass_extenders(pod, [node], {})

    def _find(
        self,
        framework: Framework,
        state: CycleState,
        pod: PodInfo,
        nodes: Sequence[NodeInfo],
        by_node: dict[str, Status],
    ) -> list[NodeInfo]:
        total = len(nodes)
        if state.only_nodes is not None:
            nodes = [node for node in nodes if node.name in state.only_nodes]
        wanted = self.wanted(framework, len(nodes))
        feasible: list[NodeInfo] = []
        count = len(nodes)
        for offset in range(count):
            node = nodes[(self.next_start + offset) % count]
            status = framework.filter_node(state, pod, node)
            if status.code is Code.SUCCESS:
                feasible.append(node)
                if len(feasible) >= wanted:
                    break
            else:
                by_node[node.name] = status
        self.next_start = (self.next_start + len(feasible) + len(by_node)) % total
        return self._pass_extenders(pod, feasible, by_node)

    def _pass_extenders(
        self, pod: PodInfo, feasible: list[NodeInfo], by_node: dict[str, Status]
    ) -> list[NodeInfo]:
        for extender in self.extenders:
            if not feasible or not extender.is_interested(pod):
                continue
            try:
                passed, failures = extender.filter(pod, feasible)
            except PluginError as error:
                if not extender.is_ignorable:
                    raise
                log.info("ignorable extender failed", extra={"error": str(error)})
                continue
            kept = {node.name for node in passed}
            dropped = [node.name for node in feasible if node.name not in kept]
            by_node.update((name, failures.get(name, _DROPPED)) for name in dropped)
            feasible = list(passed)
        return feasible

    def _extended(
        self, pod: PodInfo, nodes: Sequence[NodeInfo], scores: Sequence[NodeScore]
    ) -> list[NodeScore]:
        added: dict[str, int] = {}
        for extender in self.extenders:
            if extender.is_interested(pod):
                for name, score in extender.prioritize(pod, nodes).items():
                    added[name] = added.get(name, 0) + score
        return [
            NodeScore(
                s.name,
                s.total + added.get(s.name, 0),
                {**s.by_plugin, "Extenders": added.get(s.name, 0)},
                s.raw,
            )
            for s in scores
        ]


def fit_error(state: CycleState, node_count: int, by_node: Mapping[str, Status]) -> FitError:
    """What the filters said; nodes that PreFilter had left out are told as such."""
    if state.only_nodes is None:
        return FitError(node_count, by_node)
    plugins = sorted(state.only_nodes_plugins)
    absent = unresolvable("", f"node(s) didn't satisfy plugin(s) [{' '.join(plugins)}]")
    return FitError(node_count, by_node, absent=absent, narrowed_by=frozenset(plugins))


def rejected(framework: Framework, state: CycleState, pod: PodInfo, error: FitError) -> Decision:
    """The decision for a Pod that fits nowhere, after PostFilter tried to make room."""
    result = framework.post_filter(state, pod, error.by_node, error.absent)
    told = FitError(
        error.node_count,
        error.by_node,
        error.pre_filter,
        result.message,
        error.absent,
        error.narrowed_by,
    )
    explain = lambda: Explanation(error.by_node, (), ())  # noqa: E731
    return Decision(
        "", len(error.by_node), 0, state, fit_error=told, post_filter=result, explain=explain
    )
