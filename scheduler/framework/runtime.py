"""Runs the plugins of one profile at each extension point.

Source: pkg/scheduler/framework/runtime/framework.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scheduler.framework import interface
from scheduler.framework.binding_stages import BindingStages, told_by
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import EnqueueExtensions, Registration
from scheduler.framework.interface import PostFilterResult
from scheduler.framework.status import SUCCESS, Code, Status
from scheduler.framework.waiting_pods import WaitingPods
from scheduler.node_info import NodeInfo
from scheduler.nominator import Nominator
from scheduler.pod_info import PodInfo

POINTS: Mapping[str, type[Any]] = {
    "preEnqueue": interface.PreEnqueuePlugin,
    "queueSort": interface.QueueSortPlugin,
    "preFilter": interface.PreFilterPlugin,
    "filter": interface.FilterPlugin,
    "postFilter": interface.PostFilterPlugin,
    "preScore": interface.PreScorePlugin,
    "score": interface.ScorePlugin,
    "reserve": interface.ReservePlugin,
    "permit": interface.PermitPlugin,
    "preBind": interface.PreBindPlugin,
    "bind": interface.BindPlugin,
    "postBind": interface.PostBindPlugin,
}
"""Extension points by their names in configuration files."""


@dataclass(frozen=True, slots=True)
class Weighted:
    """A Score plugin and what its normalized score is multiplied by."""

    plugin: interface.ScorePlugin
    weight: int


@dataclass(frozen=True, slots=True)
class NodeScore:
    """A feasible node's total, and each plugin's part of it, normalized and weighted."""

    name: str
    total: int
    by_plugin: Mapping[str, int]
    raw: Mapping[str, int] = field(default_factory=dict)


class PluginError(Exception):
    """A plugin could not do its work: the Pod is tried again, the message tells which."""


class Framework:
    """The plugins of a profile by extension point.

    `plugins` serve every point whose methods they have, in that order; `by_point` overrides the
    list of single points.
    """

    def __init__(
        self,
        plugins: Sequence[Any],
        weights: Mapping[str, int],
        *,
        by_point: Mapping[str, Sequence[Any]] | None = None,
        profile: str = "default-scheduler",
        nominator: Nominator | None = None,
        waiting: WaitingPods | None = None,
    ) -> None:
        chosen = by_point or {}

        def serving(point: str) -> list[Any]:
            if point in chosen:
                return list(chosen[point])
            return [plugin for plugin in plugins if isinstance(plugin, POINTS[point])]

        self.profile = profile
        self.nominator = Nominator() if nominator is None else nominator
        self.pre_enqueue_plugins: list[interface.PreEnqueuePlugin] = serving("preEnqueue")
        sorters: list[interface.QueueSortPlugin] = serving("queueSort")
        if len(sorters) != 1:
            raise ValueError(f"a profile needs one QueueSort plugin, not {len(sorters)}")
        self.queue_sort = sorters[0]
        self.pre_filter_plugins: list[interface.PreFilterPlugin] = serving("preFilter")
        self.filter_plugins: list[interface.FilterPlugin] = serving("filter")
        self._post_filter: list[interface.PostFilterPlugin] = serving("postFilter")
        self.pre_score_plugins: list[interface.PreScorePlugin] = serving("preScore")
        self.score_plugins = [Weighted(p, weights.get(p.name) or 1) for p in serving("score")]
        self.binding = BindingStages(
            reserve=serving("reserve"),
            permit=serving("permit"),
            pre_bind=serving("preBind"),
            bind=serving("bind"),
            post_bind=serving("postBind"),
            waiting=WaitingPods() if waiting is None else waiting,
        )
        self._following = [
            p for p in self.pre_filter_plugins if isinstance(p, interface.PreFilterExtensions)
        ]

    def registrations(self) -> Mapping[str, Sequence[Registration] | None]:
        """Which events can lift whose rejections; None: any event."""
        rejecting: list[Any] = [
            *self.pre_enqueue_plugins,
            *self.pre_filter_plugins,
            *self.filter_plugins,
            *self.binding.reserve_plugins,
            *self.binding.permit_plugins,
        ]
        return {
            plugin.name: (
                plugin.events_to_register() if isinstance(plugin, EnqueueExtensions) else None
            )
            for plugin in rejecting
        }

    def pre_enqueue(self, pod: PodInfo) -> Status:
        for plugin in self.pre_enqueue_plugins:
            status = plugin.pre_enqueue(pod)
            if status.code is not Code.SUCCESS:
                return told_by(plugin, "PreEnqueue", status)
        return SUCCESS

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        """The first rejection ends it: no node can fit."""
        for plugin in self.pre_filter_plugins:
            status = plugin.pre_filter(state, pod, nodes)
            if status.code is Code.SKIP:
                state.skip_filter.add(plugin.name)
            elif status.code is not Code.SUCCESS:
                told = told_by(plugin, "PreFilter", status)
                if not told.is_rejection:
                    raise PluginError(told.message)
                return told
        return SUCCESS

    def filters_for(self, state: CycleState) -> list[interface.FilterPlugin]:
        """Those whose PreFilter did not leave them out."""
        return [plugin for plugin in self.filter_plugins if plugin.name not in state.skip_filter]

    def filter_node(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        """Whether the Pod fits with and without those nominated for the node that go before it.

        With them, because they will come; without, because they may not, and an affinity to them
        must not count.
        """
        rivals = self.nominator.rivals(pod, node.name)
        if rivals:
            with_rivals, crowded = state.clone(), node.clone()
            for rival in rivals:
                crowded.add(rival)
                self.pod_added(with_rivals, pod, rival, crowded)
            status = self._filter(with_rivals, pod, crowded)
            if status.code is not Code.SUCCESS:
                return status
        return self._filter(state, pod, node)

    def _filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        for plugin in self.filter_plugins:
            if plugin.name in state.skip_filter:
                continue
            status = plugin.filter(state, pod, node)
            if status.code is not Code.SUCCESS:
                if not status.is_rejection:
                    raise PluginError(f'running "{plugin.name}" filter plugin: {status.message}')
                return status if status.plugin else replace(status, plugin=plugin.name)
        return SUCCESS

    def pod_added(self, state: CycleState, pod: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        """Tells PreFilter's states that one more Pod is on the node."""
        for plugin in self._following:
            if plugin.name not in state.skip_filter:
                plugin.add_pod(state, pod, added, node)

    def pod_removed(
        self, state: CycleState, pod: PodInfo, removed: PodInfo, node: NodeInfo
    ) -> None:
        for plugin in self._following:
            if plugin.name not in state.skip_filter:
                plugin.remove_pod(state, pod, removed, node)

    def post_filter(
        self,
        state: CycleState,
        pod: PodInfo,
        by_node: Mapping[str, Status],
        absent: Status | None = None,
    ) -> PostFilterResult:
        """What the first plugin that made room says, else what all of them said together."""
        found = PostFilterResult(None if self._post_filter else "")
        messages: list[str] = []
        for plugin in self._post_filter:
            result = plugin.post_filter(state, pod, by_node, absent)
            if result.nominated:
                return result
            if result.nominated is not None:
                found = result
            if result.message:
                messages.append(result.message)
        return replace(found, message=", ".join(messages))

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> None:
        for plugin in self.pre_score_plugins:
            status = plugin.pre_score(state, pod, nodes)
            if status.code is Code.SKIP:
                state.skip_score.add(plugin.name)
            elif status.code is not Code.SUCCESS:
                raise PluginError(f'running PreScore plugin "{plugin.name}": {status.message}')

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[NodeScore]:
        """PreScore, Score, NormalizeScore and weights, over the feasible nodes."""
        self.pre_score(state, pod, nodes)
        raw: dict[str, list[int]] = {}
        weighted: dict[str, list[int]] = {}
        for entry in self.score_plugins:
            plugin = entry.plugin
            if plugin.name in state.skip_score:
                continue
            scores = [plugin.score(state, pod, node) for node in nodes]
            raw[plugin.name] = scores
            if isinstance(plugin, interface.NormalizeScorePlugin):
                scores = list(scores)
                plugin.normalize(state, pod, scores)
            _check_range(plugin.name, scores)
            weighted[plugin.name] = [score * entry.weight for score in scores]
        return [
            NodeScore(
                node.name,
                sum(scores[i] for scores in weighted.values()),
                {name: scores[i] for name, scores in weighted.items()},
                {name: scores[i] for name, scores in raw.items()},
            )
            for i, node in enumerate(nodes)
        ]


def _check_range(name: str, scores: Sequence[int]) -> None:
    for score in scores:
        if not interface.MIN_NODE_SCORE <= score <= interface.MAX_NODE_SCORE:
            raise PluginError(
                f'plugin "{name}" returns an invalid score {score}, it should in the range of '
                f"[{interface.MIN_NODE_SCORE}, {interface.MAX_NODE_SCORE}] after normalizing"
            )
