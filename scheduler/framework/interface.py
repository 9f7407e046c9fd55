"""The extension points of the scheduling framework, as Protocols. A plugin implements any of them.

The order of one Pod's way: PreEnqueue, QueueSort | PreFilter, Filter, (PostFilter), PreScore,
Score, NormalizeScore, Reserve, Permit | PreBind, Bind, PostBind. Up to Permit everything is
synchronous and sees one state of the cluster; the rest runs in the binding cycle.

Source: pkg/scheduler/framework/interface.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import Status
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

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
        """Once a Pod: computes what Filter needs. SKIP leaves the plugin's Filter out.

        `nodes` are all nodes; `state.narrow` says that only some of them come into question.
        """


@runtime_checkable
class PreFilterExtensions(Plugin, Protocol):
    """For PreFilter plugins whose state depends on the Pods that are there: what if one more, or
    one less? Called on clones of state and node."""

    def add_pod(self, state: CycleState, pod: PodInfo, added: PodInfo, node: NodeInfo) -> None: ...

    def remove_pod(
        self, state: CycleState, pod: PodInfo, removed: PodInfo, node: NodeInfo
    ) -> None: ...


@runtime_checkable
class FilterPlugin(Plugin, Protocol):
    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        """Can the Pod run there?"""


@dataclass(frozen=True, slots=True)
class PostFilterResult:
    """`nominated` None leaves an earlier nomination, "" clears it. `victims` are to be evicted."""

    nominated: str | None = None
    message: str = ""
    victims: tuple[PodInfo, ...] = ()


@runtime_checkable
class PostFilterPlugin(Plugin, Protocol):
    def post_filter(
        self,
        state: CycleState,
        pod: PodInfo,
        by_node: Mapping[str, Status],
        absent: Status | None = None,
    ) -> PostFilterResult:
        """When no node fits. `absent` is the status of the nodes that `by_node` does not name."""


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
    def permit(self, state: CycleState, pod: PodInfo, node_name: str) -> tuple[Status, float]:
        """With WAIT the binding waits, for at most so many seconds, until the plugin says
        `handle.waiting.allow` or `reject`."""


@runtime_checkable
class PreBindPlugin(Plugin, Protocol):
    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status: ...


@runtime_checkable
class BindPlugin(Plugin, Protocol):
    async def bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        """SKIP hands the Pod on to the next Bind plugin; the last is DefaultBinder, which binds
        in batches and so is the binder itself."""


@runtime_checkable
class PostBindPlugin(Plugin, Protocol):
    def post_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> None:
        """The Pod is bound: clean up, or tell somebody."""


class Extender(Protocol):
    """A webhook beside the plugins: filters, scores, preempts. Synchronous, see extender.py.

    Every question raises PluginError; where `is_ignorable` it then counts as not asked.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_ignorable(self) -> bool: ...

    @property
    def filters(self) -> bool: ...

    @property
    def scores(self) -> bool: ...

    @property
    def preempts(self) -> bool: ...

    def is_interested(self, pod: PodInfo) -> bool: ...

    def filter(
        self, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> tuple[Sequence[NodeInfo], Mapping[str, Status]]:
        """(nodes that pass, why others do not)."""

    def prioritize(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Mapping[str, int]:
        """What to add to each node's total; nothing when the extender fails."""

    def preempt(
        self, pod: PodInfo, victims: Mapping[str, tuple[Sequence[PodInfo], int]]
    ) -> dict[str, tuple[list[str], int]]:
        """Which of the nodes may be preempted on, which Pods (uids) then have to go, and how many
        disruption budgets that breaks."""
