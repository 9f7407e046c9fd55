"""Runs the plugins of one profile at each extension point.

Source: pkg/scheduler/framework/runtime/framework.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scheduler.framework import interface
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
        self.reserve_plugins: list[interface.ReservePlugin] = serving("reserve")
        self.permit_plugins: list[interface.PermitPlugin] = serving("permit")
        self.pre_bind_plugins: list[interface.PreBindPlugin] = serving("preBind")
        self.bind_plugins: list[interface.BindPlugin] = serving("bind")
        self.post_bind_plugins: list[interface.PostBindPlugin] = serving("postBind")
        self.waiting = WaitingPods()
        self._following = [
            p for p in self.pre_filter_plugins if isinstance(p, interface.PreFilterExtensions)
        ]

    def registrations(self) -> Mapping[str, Sequence[Registration] | None]:
        """Which events can lift whose rejections; None: any event."""
        rejecting: list[Any] = [
            *self.pre_enqueue_plugins,
            *self.pre_filter_plugins,
            *self.filter_plugins,
            *self.reserve_plugins,
            *self.permit_plugins,
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
                return status
        return SUCCESS

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        """The first rejection ends it: no node can fit."""
        for plugin in self.pre_filter_plugins:
            status = plugin.pre_filter(state, pod, nodes)
            if status.code is Code.SKIP:
                state.skip_filter.add(plugin.name)
            elif status.is_rejection:
                return status
            elif status.code is not Code.SUCCESS:
                raise PluginError(f'running PreFilter plugin "{plugin.name}": {status.message}')
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
                return status
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
        """What the first plugin that made room says, else what the last one said."""
        result = PostFilterResult()
        for plugin in self._post_filter:
            result = plugin.post_filter(state, pod, by_node, absent)
            if result.nominated:
                break
        return result

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

    def reserve(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        for plugin in self.reserve_plugins:
            status = plugin.reserve(state, pod, node_name)
            if status.code is not Code.SUCCESS:
                self.unreserve(state, pod, node_name)
                return status
        return SUCCESS

    def unreserve(self, state: CycleState, pod: PodInfo, node_name: str) -> None:
        for plugin in reversed(self.reserve_plugins):
            plugin.unreserve(state, pod, node_name)

    def permit(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        """WAIT when plugins want the Pod's binding to wait until they allow it."""
        waiting: set[str] = set()
        for plugin in self.permit_plugins:
            status = plugin.permit(state, pod, node_name)
            if status.code is Code.WAIT:
                waiting.add(plugin.name)
            elif status.code is not Code.SUCCESS:
                return status
        if waiting:
            self.waiting.add(pod.uid, waiting)
            return Status(Code.WAIT)
        return SUCCESS

    def has_binding_work(self, state: CycleState, pod: PodInfo, node_name: str) -> bool:
        """Whether anything comes between the decision and the Bind call."""
        if pod.uid in self.waiting or any(p.name != "DefaultBinder" for p in self.bind_plugins):
            return True
        return any(
            needs(state, node_name) if (needs := getattr(p, "needs_pre_bind", None)) else True
            for p in self.pre_bind_plugins
        )

    async def wait_on_permit(self, _state: CycleState, pod: PodInfo, _node_name: str) -> Status:
        return await self.waiting.wait(pod.uid)

    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        for plugin in self.pre_bind_plugins:
            status = await plugin.pre_bind(state, pod, node_name)
            if status.code not in (Code.SUCCESS, Code.SKIP):
                return status
        return SUCCESS

    async def bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        """Third parties' Bind plugins; SKIP when none of them bound the Pod."""
        for plugin in self.bind_plugins:
            status = await plugin.bind(state, pod, node_name)
            if status.code is not Code.SKIP:
                return status
        return Status(Code.SKIP)

    def post_bind(self, pod: PodInfo, node_name: str) -> None:
        for plugin in self.post_bind_plugins:
            plugin.post_bind(pod, node_name)


def _check_range(name: str, scores: Sequence[int]) -> None:
    for score in scores:
        if not interface.MIN_NODE_SCORE <= score <= interface.MAX_NODE_SCORE:
            raise PluginError(
                f'plugin "{name}" returns an invalid score {score}, it should in the range of '
                f"[{interface.MIN_NODE_SCORE}, {interface.MAX_NODE_SCORE}] after normalizing"
            )
