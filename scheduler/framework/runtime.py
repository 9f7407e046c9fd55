"""Runs the plugins of one profile at each extension point.

Source: pkg/scheduler/framework/runtime/framework.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from scheduler.framework import interface
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SUCCESS, Code, Status
from scheduler.node_info import NodeInfo, PodInfo

PluginT = TypeVar("PluginT")


@dataclass(frozen=True, slots=True)
class Weighted:
    """A Score plugin and what its normalized score is multiplied by."""

    plugin: interface.ScorePlugin
    weight: int


@dataclass(frozen=True, slots=True)
class NodeScore:
    """A feasible node's total, and what each plugin gave it after normalizing and weighting."""

    name: str
    total: int
    by_plugin: Mapping[str, int]


class PluginError(Exception):
    """A plugin could not do its work: the Pod is tried again, the message tells which."""


class Framework:
    """The plugins in their order; a plugin's methods say which extension points it serves."""

    def __init__(self, plugins: Sequence[Any], weights: Mapping[str, int]) -> None:
        def serving(protocol: type[PluginT]) -> list[PluginT]:
            return [plugin for plugin in plugins if isinstance(plugin, protocol)]

        self.pre_enqueue_plugins = serving(interface.PreEnqueuePlugin)
        sorters = serving(interface.QueueSortPlugin)
        if len(sorters) != 1:
            raise ValueError(f"a profile needs one QueueSort plugin, not {len(sorters)}")
        self.queue_sort = sorters[0]
        self._pre_filter = serving(interface.PreFilterPlugin)
        self._filter = serving(interface.FilterPlugin)
        self._post_filter = serving(interface.PostFilterPlugin)
        self._pre_score = serving(interface.PreScorePlugin)
        self._score = [Weighted(p, weights.get(p.name, 1)) for p in serving(interface.ScorePlugin)]
        self._reserve = serving(interface.ReservePlugin)
        self._permit = serving(interface.PermitPlugin)
        self._pre_bind = serving(interface.PreBindPlugin)
        self._post_bind = serving(interface.PostBindPlugin)

    def pre_enqueue(self, pod: PodInfo) -> Status:
        for plugin in self.pre_enqueue_plugins:
            status = plugin.pre_enqueue(pod)
            if status.code is not Code.SUCCESS:
                return status
        return SUCCESS

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        """The first rejection ends it: no node can fit."""
        for plugin in self._pre_filter:
            status = plugin.pre_filter(state, pod, nodes)
            if status.code is Code.SKIP:
                state.skip_filter.add(plugin.name)
            elif status.is_rejection:
                return status
            elif status.code is not Code.SUCCESS:
                raise PluginError(f"{plugin.name} PreFilter: {status.message}")
        return SUCCESS

    def filters_for(self, state: CycleState) -> list[interface.FilterPlugin]:
        """Those whose PreFilter did not leave them out."""
        return [plugin for plugin in self._filter if plugin.name not in state.skip_filter]

    def post_filter(
        self, state: CycleState, pod: PodInfo, by_node: Mapping[str, Status]
    ) -> tuple[str, str]:
        """(nominated node or "", message) of the first plugin that has something to say."""
        message = ""
        for plugin in self._post_filter:
            nominated, message = plugin.post_filter(state, pod, by_node)
            if nominated:
                return nominated, message
        return "", message

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[NodeScore]:
        """PreScore, Score, NormalizeScore and weights, over the feasible nodes."""
        for pre in self._pre_score:
            status = pre.pre_score(state, pod, nodes)
            if status.code is Code.SKIP:
                state.skip_score.add(pre.name)
            elif status.code is not Code.SUCCESS:
                raise PluginError(f"{pre.name} PreScore: {status.message}")
        by_plugin: dict[str, list[int]] = {}
        for weighted in self._score:
            plugin = weighted.plugin
            if plugin.name in state.skip_score:
                continue
            scores = [plugin.score(state, pod, node) for node in nodes]
            if isinstance(plugin, interface.NormalizeScorePlugin):
                plugin.normalize(state, pod, scores)
            _check_range(plugin.name, scores)
            by_plugin[plugin.name] = [score * weighted.weight for score in scores]
        return [
            NodeScore(
                node.name,
                sum(scores[i] for scores in by_plugin.values()),
                {name: scores[i] for name, scores in by_plugin.items()},
            )
            for i, node in enumerate(nodes)
        ]

    def reserve(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        for plugin in self._reserve:
            status = plugin.reserve(state, pod, node_name)
            if status.code is not Code.SUCCESS:
                self.unreserve(state, pod, node_name)
                return status
        return SUCCESS

    def unreserve(self, state: CycleState, pod: PodInfo, node_name: str) -> None:
        for plugin in reversed(self._reserve):
            plugin.unreserve(state, pod, node_name)

    def permit(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        for plugin in self._permit:
            status = plugin.permit(state, pod, node_name)
            if status.code is not Code.SUCCESS:
                return status
        return SUCCESS

    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        for plugin in self._pre_bind:
            status = await plugin.pre_bind(state, pod, node_name)
            if status.code is not Code.SUCCESS:
                return status
        return SUCCESS

    def post_bind(self, pod: PodInfo, node_name: str) -> None:
        for plugin in self._post_bind:
            plugin.post_bind(pod, node_name)


def _check_range(name: str, scores: Sequence[int]) -> None:
    for score in scores:
        if not interface.MIN_NODE_SCORE <= score <= interface.MAX_NODE_SCORE:
            raise PluginError(f"{name} gave the score {score}, outside 0..100")
