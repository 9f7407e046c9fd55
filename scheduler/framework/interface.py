"""The extension points of the scheduling framework, as Protocols. A plugin implements any of them.

The order of one Pod's way: PreEnqueue, QueueSort | PreFilter, Filter, (PostFilter), PreScore,
Score, NormalizeScore, Reserve, Permit | PreBind, Bind, PostBind. Up to Permit everything is
synchronous and sees one state of the cluster; the rest runs in the binding cycle.

Source: pkg/scheduler/framework/interface.go.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import Status
from scheduler.node_info import NodeInfo, PodInfo

MAX_NODE_SCORE = 100
MIN_NODE_SCORE = 0


class Plugin(Protocol):
    @property
    def name(self) -> str: ...


@runtime_checkable
class PreEnqueuePlugin(Plugin, Protocol):
    def pre_enqueue(self, pod: PodInfo) -> Status:
        """Anything but success keeps the Pod out of the active queue."""


@runtime_checkable
class QueueSortPlugin(Plugin, Protocol):
    def sort_key(self, pod: PodInfo, queued_at: float) -> tuple[float, ...]:
        """Smaller goes first."""


@runtime_checkable
class PreFilterPlugin(Plugin, Protocol):
    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        """Once a Pod: computes what Filter needs. SKIP leaves the plugin's Filter out."""


@runtime_checkable
class FilterPlugin(Plugin, Protocol):
    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        """Can the Pod run there?"""


@runtime_checkable
class PostFilterPlugin(Plugin, Protocol):
    def post_filter(
        self, state: CycleState, pod: PodInfo, by_node: Mapping[str, Status]
    ) -> tuple[str, str]:
        """When no node fits: (node nominated or "", message for the Pod's condition)."""


@runtime_checkable
class PreScorePlugin(Plugin, Protocol):
    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        """Once a Pod, over the feasible nodes. SKIP leaves the plugin's Score out."""


@runtime_checkable
class ScorePlugin(Plugin, Protocol):
    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """Any integer; after `normalize` 0 to 100, higher is better."""


@runtime_checkable
class NormalizeScorePlugin(ScorePlugin, Protocol):
    def normalize(self, state: CycleState, pod: PodInfo, scores: list[int]) -> None:
        """Brings all nodes' scores into 0..100, in place."""


@runtime_checkable
class ReservePlugin(Plugin, Protocol):
    def reserve(self, state: CycleState, pod: PodInfo, node_name: str) -> Status: ...

    def unreserve(self, state: CycleState, pod: PodInfo, node_name: str) -> None:
        """Undoes `reserve`; called for all plugins, also those that did not reserve."""


@runtime_checkable
class PermitPlugin(Plugin, Protocol):
    def permit(self, state: CycleState, pod: PodInfo, node_name: str) -> Status: ...


@runtime_checkable
class PreBindPlugin(Plugin, Protocol):
    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status: ...


@runtime_checkable
class PostBindPlugin(Plugin, Protocol):
    def post_bind(self, pod: PodInfo, node_name: str) -> None: ...
