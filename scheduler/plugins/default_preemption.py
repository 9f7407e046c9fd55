"""Makes room for a Pod that fits nowhere by evicting Pods of lower priority from one node.

1. Is the Pod allowed to? 2. On which nodes could evictions help? 3. For enough of them: which Pods
would have to go? 4. Webhooks may object. 5. The node where that hurts least.

Source: pkg/scheduler/framework/plugins/defaultpreemption/default_preemption.go,
pkg/scheduler/framework/preemption/preemption.go.
"""

from collections.abc import Iterator, Mapping, Sequence

from podpath.api import scheme
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Registration
from scheduler.framework.handle import Handle
from scheduler.framework.interface import PostFilterResult
from scheduler.framework.runtime import PluginError
from scheduler.framework.status import (
    SUCCESS,
    Code,
    FitError,
    Status,
    unresolvable,
)
from scheduler.node_info import NodeInfo
from scheduler.plugins.preemption_candidates import (
    Candidate,
    ask_extenders,
    best_of,
    importance,
    split_by_budgets,
)
from scheduler.pod_info import PodInfo

NAME = "DefaultPreemption"
_NOT_HELPFUL = unresolvable(NAME, "Preemption is not helpful for scheduling")
_NO_VICTIMS = unresolvable(NAME, "No preemption victims found for incoming pod")
_LOCAL_FILTERS = frozenset(
    (
        "NodeUnschedulable",
        "NodeName",
        "TaintToleration",
        "NodeAffinity",
        "NodePorts",
        "NodeResourcesFit",
    )
)
"""With only these at work, who has to go from a node follows from that node alone."""
MEMO_MAX = 50_000


class DefaultPreemption:
    name = NAME

    def __init__(
        self,
        handle: Handle,
        *,
        min_candidate_nodes_percentage: int = 10,
        min_candidate_nodes_absolute: int = 100,
    ) -> None:
        self._handle = handle
        self._percentage = min_candidate_nodes_percentage
        self._absolute = min_candidate_nodes_absolute
        self._memo: dict[tuple[object, ...], tuple[NodeInfo, object, Candidate | Status]] = {}
        self.running: set[str] = set()
        """uids of Pods whose victims are being evicted now."""

    def events_to_register(self) -> Sequence[Registration]:
        return ()

    def pre_enqueue(self, pod: PodInfo) -> Status:
        if pod.uid in self.running:
            return unresolvable(NAME, "waiting for the preemption for this pod to be finished")
        return SUCCESS

    def post_filter(
        self,
        state: CycleState,
        pod: PodInfo,
        by_node: Mapping[str, Status],
        absent: Status | None = None,
    ) -> PostFilterResult:
        # 1.
        refusal = self._refusal(pod, by_node, absent)
        if refusal:
            return PostFilterResult(None, f"preemption: {refusal}")
        # 2.
        nodes = self._handle.cluster.nodes()
        potential = _potential(nodes, by_node, absent)
        # 3.
        candidates, statuses = self._dry_run(state, pod, potential)
        if not candidates:
            error = FitError(len(nodes), statuses, absent=_NOT_HELPFUL)
            return PostFilterResult("", f"preemption: {error}")
        # 4.
        try:
            left = ask_extenders(candidates, pod, self._handle.extenders, self._handle.cluster)
        except PluginError as error:
            return PostFilterResult(None, f"preemption: {error}")
        if not left:
            return PostFilterResult(None, "preemption: no candidate node for preemption")
        # 5.
        best = best_of(left, self._handle.clock.now().timestamp())[0]
        return PostFilterResult(best.node_name, "", best.victims)

    def best_candidates(
        self,
        state: CycleState,
        pod: PodInfo,
        by_node: Mapping[str, Status],
        absent: Status | None = None,
    ) -> list[Candidate]:
        """All that `post_filter` could have chosen: what it takes is the first of them."""
        if self._refusal(pod, by_node, absent):
            return []
        potential = _potential(self._handle.cluster.nodes(), by_node, absent)
        candidates, _ = self._dry_run(state, pod, potential)
        return best_of(candidates, self._handle.clock.now().timestamp()) if candidates else []

    def _refusal(self, pod: PodInfo, by_node: Mapping[str, Status], absent: Status | None) -> str:
        """Why the Pod may not preempt; empty when it may."""
        if pod.pod.spec.preemptionPolicy == "Never":
            return "not eligible due to preemptionPolicy=Never."
        nominated = pod.pod.status.nominatedNodeName
        if not nominated:
            return ""
        status = by_node.get(nominated, absent)
        if status is not None and status.code is Code.UNRESOLVABLE:
            return ""
        node = self._handle.cluster.node(nominated)
        if node is not None and any(
            other.priority < pod.priority and _is_preempted(other.pod)
            for other in node.pods.values()
        ):
            return "not eligible due to a terminating pod on the nominated node."
        return ""

    def _dry_run(
        self, state: CycleState, pod: PodInfo, potential: Sequence[NodeInfo]
    ) -> tuple[list[Candidate], Mapping[str, Status]]:
        """Tries nodes from a random one on, until there are enough candidates."""
        statuses: dict[str, Status] = {}
        if not potential:
            return [], statuses
        lowest = self._handle.cluster.lowest_priority()
        if lowest is None or lowest >= pod.priority:
            return [], SameForAll(potential, _NO_VICTIMS)
        wanted = self.candidates_wanted(len(potential))
        budgets = self._handle.listers.list(scheme.PODDISRUPTIONBUDGETS)
        harmless: list[Candidate] = []
        violating: list[Candidate] = []
        kind = self._kind(state, pod, budgets)
        offset = self._handle.rng.randrange(len(potential))
        for i in range(len(potential)):
            node = potential[(offset + i) % len(potential)]
            found = self._remembered(kind, state, pod, node, budgets)
            if isinstance(found, Status):
                statuses[node.name] = found
                continue
            (violating if found.violations else harmless).append(found)
            if harmless and len(harmless) + len(violating) >= wanted:
                break
        return harmless + violating, statuses

    def _kind(
        self, state: CycleState, pod: PodInfo, budgets: Sequence[PodDisruptionBudget]
    ) -> tuple[object, ...] | None:
        """What Pods with the same answer on an unchanged node share; None: ask each time."""
        filters = self._handle.filters
        assert filters is not None
        if budgets or any(p.name not in _LOCAL_FILTERS for p in filters.filters_for(state)):
            return None
        return (pod.priority, *pod.signature)

    def _remembered(
        self,
        kind: tuple[object, ...] | None,
        state: CycleState,
        pod: PodInfo,
        node: NodeInfo,
        budgets: Sequence[PodDisruptionBudget],
    ) -> Candidate | Status:
        """Pods of a kind often preempt one after another, while most nodes stay as they are."""
        if kind is None:
            return self._victims(state, pod, node, budgets)
        rivals = self._handle.nominator.rivals(pod, node.name)
        as_of = (node.generation, tuple(rival.uid for rival in rivals))
        key = (kind, node.name)
        known = self._memo.get(key)
        if known is not None and known[0] is node and known[1] == as_of:
            return known[2]
        found = self._victims(state, pod, node, budgets)
        if len(self._memo) >= MEMO_MAX:
            self._memo.clear()
        self._memo[key] = (node, as_of, found)
        return found

    def candidates_wanted(self, node_count: int) -> int:
        return min(max(node_count * self._percentage // 100, self._absolute), node_count)

    def _victims(
        self,
        state: CycleState,
        pod: PodInfo,
        node: NodeInfo,
        budgets: Sequence[PodDisruptionBudget],
    ) -> Candidate | Status:
        """Who has to go: all of lower priority leave, then the most important come back."""
        filters = self._handle.filters
        assert filters is not None
        lower = [other for other in node.pods.values() if other.priority < pod.priority]
        if not lower:
            return _NO_VICTIMS
        node, state = node.clone(), state.clone()
        for other in lower:
            node.remove(other.uid)
            filters.pod_removed(state, pod, other, node)
        status = filters.filter_node(state, pod, node)
        if status.code is not Code.SUCCESS:
            return status
        now = self._handle.clock.now().timestamp()
        lower.sort(key=lambda other: importance(other, now))
        protected, others = split_by_budgets(lower, budgets)
        victims: list[PodInfo] = []
        violations = 0
        for group in (protected, others):
            for other in group:
                node.add(other)
                filters.pod_added(state, pod, other, node)
                if filters.filter_node(state, pod, node).code is Code.SUCCESS:
                    continue
                node.remove(other.uid)
                filters.pod_removed(state, pod, other, node)
                victims.append(other)
                violations += group is protected
        victims.sort(key=lambda other: importance(other, now))
        return Candidate(node.name, tuple(victims), violations)


def _potential(
    nodes: Sequence[NodeInfo], by_node: Mapping[str, Status], absent: Status | None
) -> Sequence[NodeInfo]:
    """The nodes where evictions could help."""
    known = getattr(by_node, "with_code", None)
    if known is not None:
        found: Sequence[NodeInfo] = known(Code.UNSCHEDULABLE)
        return found
    return [
        node
        for node in nodes
        if (status := by_node.get(node.name, absent)) is not None
        and status.code is Code.UNSCHEDULABLE
    ]


class SameForAll(Mapping[str, Status]):
    """One status for many nodes."""

    def __init__(self, nodes: Sequence[NodeInfo], status: Status) -> None:
        self._nodes = nodes
        self._status = status

    def __getitem__(self, name: str) -> Status:
        return self._status

    def __iter__(self) -> Iterator[str]:
        return (node.name for node in self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def tally(self) -> dict[str, int]:
        return dict.fromkeys(self._status.reasons, len(self._nodes))


def _is_preempted(pod: Pod) -> bool:
    if not pod.metadata.HasField("deletionTimestamp"):
        return False
    return any(
        c.type == "DisruptionTarget" and c.status == "True" and c.reason == "PreemptionByScheduler"
        for c in pod.status.conditions
    )
