"""Keeps Pods of a kind spread evenly over hosts, zones or any other topology.

Source: pkg/scheduler/framework/plugins/podtopologyspread/{filtering,scoring,plugin}.go.
"""

import math
from collections.abc import Sequence

from podpath.api import scheme
from podpath.api.label_lexer import SelectorError
from protos.k8s.core_v1_pb2 import Node, TopologySpreadConstraint
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.handle import Handle
from scheduler.framework.interface import MAX_NODE_SCORE
from scheduler.framework.status import SKIP, SUCCESS, Status, failed, unresolvable, unschedulable
from scheduler.node_info import NodeInfo
from scheduler.plugins.spread_constraints import (
    HARD,
    HOSTNAME,
    SIBLINGS_FROM,
    SOFT,
    SYSTEM_DEFAULTS,
    Constraint,
    count_matching,
    default_constraints,
    has_all_keys,
    own_constraints,
)
from scheduler.pod_info import PodInfo

NAME = "PodTopologySpread"
_REASON = "node(s) didn't match pod topology spread constraints"
SKEWED = unschedulable(NAME, _REASON)
NO_LABEL = unresolvable(NAME, f"{_REASON} (missing required label)")

UNLIMITED = 2**31 - 1
"""The fewest Pods in a domain where there is no domain: nothing to compare with."""

Pair = tuple[str, str]  # topology key and value


class FilterState:
    """How many matching Pods each domain of each hard constraint holds."""

    def __init__(self, constraints: Sequence[Constraint], counts: Sequence[dict[str, int]]) -> None:
        self.constraints = constraints
        self.counts = counts  # for each constraint: topology value -> Pods

    def clone(self) -> "FilterState":
        return FilterState(self.constraints, [dict(counts) for counts in self.counts])

    def least(self, index: int) -> int:
        """The fewest Pods in a domain, 0 while there are fewer domains than demanded."""
        counts = self.counts[index]
        if not counts:
            return UNLIMITED
        if len(counts) < self.constraints[index].min_domains:
            return 0
        return min(counts.values())

    def update(self, pod: PodInfo, other: PodInfo, node: NodeInfo, delta: int) -> None:
        """Another Pod comes to (or leaves) a node."""
        if node.node is None or other.key[0] != pod.key[0]:
            return
        if not has_all_keys(node.labels, self.constraints):
            return
        for constraint, counts in zip(self.constraints, self.counts, strict=True):
            if constraint.selector.matches(other.labels) and constraint.counts_node(
                pod.pod, node.node
            ):
                value = node.labels[constraint.topology_key]
                counts[value] = counts.get(value, 0) + delta


class ScoreState:
    """Soft constraints: Pods by domain, the weight of each topology, nodes without its labels."""

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self.constraints = constraints
        self.counts: dict[Pair, int] = {}
        self.weights: list[float] = []
        self.ignored: set[str] = set()
        self.names: list[str] = []


class PodTopologySpread:
    name = NAME

    def __init__(
        self,
        handle: Handle,
        defaults: Sequence[TopologySpreadConstraint] = SYSTEM_DEFAULTS,
        *,
        system_defaulted: bool = True,
    ) -> None:
        self._handle = handle
        self._defaults = tuple(defaults)
        self._system_defaulted = system_defaulted

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(
                scheme.PODS,
                Action.ADD | Action.POD_LABELS | Action.DELETE | Action.POD_TOLERATIONS,
                self._pod_change_helps,
            ),
            Registration(
                scheme.NODES,
                Action.ADD | Action.DELETE | Action.NODE_LABELS | Action.NODE_TAINTS,
                self._node_change_helps,
            ),
        )

    def constraints(self, pod: PodInfo, action: str) -> tuple[Constraint, ...]:
        """Raises: SelectorError."""
        if pod.pod.spec.topologySpreadConstraints:
            return own_constraints(pod, action)
        return default_constraints(pod, self._defaults, action, self._handle.listers)

    def constraints_generation(self) -> int:
        """While it is the same, `constraints` of a Pod are."""
        return self._handle.listers.generation(SIBLINGS_FROM)

    def requires_all_keys(self, pod: PodInfo) -> bool:
        """Whether nodes without one of the keys take no part in scoring at all."""
        return bool(pod.pod.spec.topologySpreadConstraints) or not self._system_defaulted

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        try:
            constraints = self.constraints(pod, HARD)
        except SelectorError as error:
            return failed(NAME, str(error))
        if not constraints:
            return SKIP
        counts: list[dict[str, int]] = [{} for _ in constraints]
        for node in nodes:
            if node.node is None or not has_all_keys(node.labels, constraints):
                continue
            for constraint, found in zip(constraints, counts, strict=True):
                if constraint.counts_node(pod.pod, node.node):
                    value = node.labels[constraint.topology_key]
                    here = count_matching(node, constraint.selector, pod.key[0])
                    found[value] = found.get(value, 0) + here
        state.write(f"Filter{NAME}", FilterState(constraints, counts))
        return SUCCESS

    def add_pod(self, state: CycleState, pod: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        state.read(f"Filter{NAME}").update(pod, added, node, 1)

    def remove_pod(self, state: CycleState, pod: PodInfo, removed: PodInfo, node: NodeInfo) -> None:
        state.read(f"Filter{NAME}").update(pod, removed, node, -1)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        """Would the Pod's domain exceed the least filled one by more than maxSkew?"""
        found: FilterState = state.read(f"Filter{NAME}")
        for index, constraint in enumerate(found.constraints):
            value = node.labels.get(constraint.topology_key)
            if value is None:
                return NO_LABEL
            itself = int(constraint.selector.matches(pod.labels))
            count = found.counts[index].get(value, 0)
            if count + itself - found.least(index) > constraint.max_skew:
                return SKEWED
        return SUCCESS

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        try:
            constraints = self.constraints(pod, SOFT)
        except SelectorError as error:
            return failed(NAME, str(error))
        if not constraints:
            return SKIP
        score_state = ScoreState(constraints)
        require_all = self.requires_all_keys(pod)
        self._find_domains(score_state, nodes, require_all)
        self._count(score_state, pod, require_all)
        state.write(f"Score{NAME}", score_state)
        return SUCCESS

    def _find_domains(
        self, state: ScoreState, nodes: Sequence[NodeInfo], require_all: bool
    ) -> None:
        sizes = [0] * len(state.constraints)
        state.names = [node.name for node in nodes]
        for node in nodes:
            if require_all and not has_all_keys(node.labels, state.constraints):
                state.ignored.add(node.name)
                continue
            for index, constraint in enumerate(state.constraints):
                if constraint.topology_key == HOSTNAME:
                    continue
                pair = (constraint.topology_key, node.labels.get(constraint.topology_key, ""))
                if pair not in state.counts:
                    state.counts[pair] = 0
                    sizes[index] += 1
        for index, constraint in enumerate(state.constraints):
            size = sizes[index]
            if constraint.topology_key == HOSTNAME:
                size = len(nodes) - len(state.ignored)
            state.weights.append(math.log(size + 2))

    def _count(self, state: ScoreState, pod: PodInfo, require_all: bool) -> None:
        for node in self._handle.cluster.nodes():
            assert node.node is not None
            if require_all and not has_all_keys(node.labels, state.constraints):
                continue
            for constraint in state.constraints:
                pair = (constraint.topology_key, node.labels.get(constraint.topology_key, ""))
                if pair in state.counts and constraint.counts_node(pod.pod, node.node):
                    state.counts[pair] += count_matching(node, constraint.selector, pod.key[0])

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """Matching Pods in the node's domains, weighted by topology size; less is better."""
        found: ScoreState = state.read(f"Score{NAME}")
        if node.name in found.ignored:
            return 0
        score = 0.0
        for constraint, weight in zip(found.constraints, found.weights, strict=True):
            value = node.labels.get(constraint.topology_key)
            if value is None:
                continue
            if constraint.topology_key == HOSTNAME:
                count = count_matching(node, constraint.selector, pod.key[0])
            else:
                count = found.counts[constraint.topology_key, value]
            score += count * weight + (constraint.max_skew - 1)
        return math.floor(score + 0.5)

    def normalize(self, state: CycleState, _pod: PodInfo, scores: list[int]) -> None:
        """The fewest Pods get 100, ignored nodes 0."""
        found: ScoreState = state.read(f"Score{NAME}")
        taking_part = [
            score
            for name, score in zip(found.names, scores, strict=True)
            if name not in found.ignored
        ]
        lowest, highest = min(taking_part, default=0), max(taking_part, default=0)
        for i, name in enumerate(found.names):
            if name in found.ignored:
                scores[i] = 0
            elif highest == 0:
                scores[i] = MAX_NODE_SCORE
            else:
                scores[i] = MAX_NODE_SCORE * (highest + lowest - scores[i]) // highest

    def _pod_change_helps(self, pod: PodInfo, old: PodInfo | None, new: PodInfo | None) -> bool:
        for changed in (old, new):
            if changed is not None and changed.uid != pod.uid:
                placed = bool(changed.pod.spec.nodeName)
                if not placed or changed.key[0] != pod.key[0]:
                    return False
        constraints = self.constraints(pod, HARD)
        if old is not None and new is not None:
            if (
                new.uid == pod.uid
                and old.pod.spec.tolerations != new.pod.spec.tolerations
                and any(c.honor_taints for c in constraints)
            ):
                return True
            return any(
                c.selector.matches(old.labels) != c.selector.matches(new.labels)
                for c in constraints
            )
        changed = new if new is not None else old
        return changed is not None and any(c.selector.matches(changed.labels) for c in constraints)

    def _node_change_helps(self, pod: PodInfo, old: Node | None, new: Node | None) -> bool:
        constraints = self.constraints(pod, HARD)
        before = old is not None and has_all_keys(old.metadata.labels, constraints)
        after = new is not None and has_all_keys(new.metadata.labels, constraints)
        if old is None or new is None or before != after:
            return before or after
        return after and (
            old.spec.taints != new.spec.taints
            or any(
                old.metadata.labels.get(c.topology_key) != new.metadata.labels.get(c.topology_key)
                for c in constraints
            )
        )
