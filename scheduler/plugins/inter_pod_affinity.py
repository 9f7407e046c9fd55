"""Pods that want to be near other Pods, or away from them, and Pods that others want so.

Source: pkg/scheduler/framework/plugins/interpodaffinity/{filtering,scoring,plugin}.go.
"""

from collections.abc import Iterable, Mapping, Sequence

from podpath.api import scheme
from protos.k8s.core_v1_pb2 import Node
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.handle import Handle
from scheduler.framework.interface import MAX_NODE_SCORE
from scheduler.framework.status import SKIP, SUCCESS, Status, failed, unresolvable, unschedulable
from scheduler.listers import Listers
from scheduler.node_info import NodeInfo
from scheduler.pod_info import AffinityTerm, PodInfo, WeightedTerm

NAME = "InterPodAffinity"
NO_AFFINITY = unresolvable(NAME, "node(s) didn't match pod affinity rules")
ANTI_AFFINITY = unschedulable(NAME, "node(s) didn't match pod anti-affinity rules")
EXISTING_ANTI_AFFINITY = unschedulable(
    NAME, "node(s) didn't satisfy existing pods anti-affinity rules"
)

Pair = tuple[str, str]  # topology key and value
Counts = dict[Pair, int]


def resolve(term: AffinityTerm, listers: Listers) -> AffinityTerm:
    """The term with the namespaces that its namespace selector finds now."""
    if term.namespace_selector.everything or term.namespace_selector.nothing:
        return term
    return term.with_namespaces(
        namespace.metadata.name
        for namespace in listers.list(scheme.NAMESPACES)
        if term.namespace_selector.matches(namespace.metadata.labels)
    )


def namespace_labels(pod: PodInfo, listers: Listers) -> Mapping[str, str]:
    namespace = listers.get(scheme.NAMESPACES, "", pod.key[0])
    return dict(namespace.metadata.labels) if namespace is not None else {}


def matches_all(terms: Sequence[AffinityTerm], pod: PodInfo) -> bool:
    """No terms match nothing."""
    return bool(terms) and all(term.matches(pod, None) for term in terms)


def _count(counts: Counts, node: NodeInfo, key: str, delta: int) -> None:
    value = node.labels.get(key)
    if value is None:
        return
    total = counts.get((key, value), 0) + delta
    if total:
        counts[key, value] = total
    else:
        counts.pop((key, value), None)


class FilterState:
    """Pods by topology pair: against the Pod, wanted by it, unwanted by it."""

    def __init__(
        self,
        pod: PodInfo,
        labels: Mapping[str, str],
        affinity: Sequence[AffinityTerm],
        anti_affinity: Sequence[AffinityTerm],
    ) -> None:
        self.pod = pod
        self.namespace_labels = labels
        self.affinity = affinity
        self.anti_affinity = anti_affinity
        self.existing_anti_affinity: Counts = {}
        self.wanted: Counts = {}
        self.unwanted: Counts = {}

    def clone(self) -> "FilterState":
        twin = FilterState(self.pod, self.namespace_labels, self.affinity, self.anti_affinity)
        twin.existing_anti_affinity = dict(self.existing_anti_affinity)
        twin.wanted, twin.unwanted = dict(self.wanted), dict(self.unwanted)
        return twin

    def count_existing(self, other: PodInfo, node: NodeInfo, delta: int) -> None:
        for term in other.terms.required_anti_affinity:
            if term.matches(self.pod, self.namespace_labels):
                _count(self.existing_anti_affinity, node, term.topology_key, delta)

    def count_incoming(self, other: PodInfo, node: NodeInfo, delta: int) -> None:
        if matches_all(self.affinity, other):
            for term in self.affinity:
                _count(self.wanted, node, term.topology_key, delta)
        for term in self.anti_affinity:
            if term.matches(other, None):
                _count(self.unwanted, node, term.topology_key, delta)

    def has_wanted(self, node: NodeInfo) -> bool:
        found = True
        for term in self.affinity:
            value = node.labels.get(term.topology_key)
            if value is None:
                return False
            found = found and self.wanted.get((term.topology_key, value), 0) > 0
        if found:
            return True
        # The first of a group that wants to be together: somebody has to begin.
        return not self.wanted and matches_all(self.affinity, self.pod)

    def has_unwanted(self, node: NodeInfo) -> bool:
        return any(
            self.unwanted.get((term.topology_key, node.labels.get(term.topology_key, "")), 0) > 0
            for term in self.anti_affinity
            if term.topology_key in node.labels
        )

    def is_unwanted(self, node: NodeInfo) -> bool:
        return any(
            count > 0 and node.labels.get(key) == value
            for (key, value), count in self.existing_anti_affinity.items()
        )


class ScoreState:
    """The score of each topology pair."""

    def __init__(self, pod: PodInfo, labels: Mapping[str, str]) -> None:
        self.pod = pod
        self.namespace_labels = labels
        self.scores: dict[str, dict[str, int]] = {}

    def add(
        self,
        term: AffinityTerm,
        weight: int,
        pod: PodInfo,
        labels: Mapping[str, str] | None,
        node: NodeInfo,
    ) -> None:
        if term.matches(pod, labels):
            value = node.labels.get(term.topology_key)
            if value is not None:
                by_value = self.scores.setdefault(term.topology_key, {})
                by_value[value] = by_value.get(value, 0) + weight


class InterPodAffinity:
    name = NAME

    def __init__(
        self,
        handle: Handle,
        *,
        hard_pod_affinity_weight: int = 1,
        ignore_preferred_terms_of_existing_pods: bool = False,
    ) -> None:
        self._handle = handle
        self.hard_weight = hard_pod_affinity_weight
        self.ignore_existing_preferred = ignore_preferred_terms_of_existing_pods

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(
                scheme.PODS, Action.ADD | Action.POD_LABELS | Action.DELETE, self._pod_change_helps
            ),
            Registration(scheme.NODES, Action.ADD | Action.NODE_LABELS, self._node_change_helps),
        )

    def resolved(self, terms: Iterable[AffinityTerm]) -> list[AffinityTerm]:
        return [resolve(term, self._handle.listers) for term in terms]

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        if pod.terms.error:
            return unresolvable(NAME, pod.terms.error)
        found = FilterState(
            pod,
            namespace_labels(pod, self._handle.listers),
            self.resolved(pod.terms.required_affinity),
            self.resolved(pod.terms.required_anti_affinity),
        )
        for node in self._handle.cluster.nodes_with_required_anti_affinity():
            for other in node.pods_with_required_anti_affinity.values():
                found.count_existing(other, node, 1)
        if found.affinity or found.anti_affinity:
            for node in nodes:
                for other in node.pods.values():
                    found.count_incoming(other, node, 1)
        elif not found.existing_anti_affinity:
            return SKIP
        state.write(f"Filter{NAME}", found)
        return SUCCESS

    def add_pod(self, state: CycleState, _pod: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        found: FilterState = state.read(f"Filter{NAME}")
        found.count_existing(added, node, 1)
        found.count_incoming(added, node, 1)

    def remove_pod(
        self, state: CycleState, _pod: PodInfo, removed: PodInfo, node: NodeInfo
    ) -> None:
        found: FilterState = state.read(f"Filter{NAME}")
        found.count_existing(removed, node, -1)
        found.count_incoming(removed, node, -1)

    def filter(self, state: CycleState, _pod: PodInfo, node: NodeInfo) -> Status:
        found: FilterState = state.read(f"Filter{NAME}")
        if not found.has_wanted(node):
            return NO_AFFINITY
        if found.has_unwanted(node):
            return ANTI_AFFINITY
        if found.is_unwanted(node):
            return EXISTING_ANTI_AFFINITY
        return SUCCESS

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        if pod.terms.error:
            return failed(NAME, pod.terms.error)
        own = bool(pod.terms.preferred_affinity or pod.terms.preferred_anti_affinity)
        if not nodes or (self.ignore_existing_preferred and not own):
            return SKIP
        cluster = self._handle.cluster
        preferred = self.weighted_terms(pod)
        found = ScoreState(pod, namespace_labels(pod, self._handle.listers))
        for node in cluster.nodes() if own else cluster.nodes_with_affinity():
            if not node.labels:
                continue
            others = node.pods if own else node.pods_with_affinity
            for other in others.values():
                self._score_pair(found, preferred, other, node)
        if not found.scores:
            return SKIP
        state.write(f"Score{NAME}", found)
        return SUCCESS

    def weighted_terms(self, pod: PodInfo) -> list[WeightedTerm]:
        """The Pod's preferences, negative where it would rather be away."""
        listers = self._handle.listers
        near = [
            WeightedTerm(resolve(w.term, listers), w.weight) for w in pod.terms.preferred_affinity
        ]
        away = [
            WeightedTerm(resolve(w.term, listers), -w.weight)
            for w in pod.terms.preferred_anti_affinity
        ]
        return near + away

    def existing_terms(self, other: PodInfo) -> list[WeightedTerm]:
        """What an existing Pod's own terms add to the score of a Pod that matches them."""
        terms = other.terms
        found: list[WeightedTerm] = []
        if self.hard_weight > 0:
            found += [WeightedTerm(term, self.hard_weight) for term in terms.required_affinity]
        found += terms.preferred_affinity
        found += [WeightedTerm(w.term, -w.weight) for w in terms.preferred_anti_affinity]
        return found

    def _score_pair(
        self, state: ScoreState, preferred: Sequence[WeightedTerm], other: PodInfo, node: NodeInfo
    ) -> None:
        for weighted in preferred:
            state.add(weighted.term, weighted.weight, other, None, node)
        if other.terms.any:
            for weighted in self.existing_terms(other):
                state.add(weighted.term, weighted.weight, state.pod, state.namespace_labels, node)

    def score(self, state: CycleState, _pod: PodInfo, node: NodeInfo) -> int:
        found: ScoreState = state.read(f"Score{NAME}")
        return sum(
            by_value.get(node.labels[key], 0)
            for key, by_value in found.scores.items()
            if key in node.labels
        )

    def normalize(self, _state: CycleState, _pod: PodInfo, scores: list[int]) -> None:
        """The lowest becomes 0, the highest 100; all 0 when they are equal."""
        lowest, highest = min(scores, default=0), max(scores, default=0)
        spread = highest - lowest
        for i, score in enumerate(scores):
            scores[i] = int(MAX_NODE_SCORE * ((score - lowest) / spread)) if spread else 0

    def _pod_change_helps(self, pod: PodInfo, old: PodInfo | None, new: PodInfo | None) -> bool:
        if any(p is not None and p.uid != pod.uid and not p.pod.spec.nodeName for p in (old, new)):
            return False
        affinity = self.resolved(pod.terms.required_affinity)
        anti_affinity = self.resolved(pod.terms.required_anti_affinity)
        if new is not None:
            did = old is not None and matches_all(affinity, old)
            if matches_all(affinity, new) and not did:
                return True
            if old is None:
                return False
        assert old is not None
        if _leaves(anti_affinity, old, new):
            return True
        # One that kept the Pod away is gone, or now looks otherwise.
        labels = namespace_labels(pod, self._handle.listers)
        return any(t.matches(pod, labels) for t in old.terms.required_anti_affinity)

    def _node_change_helps(self, pod: PodInfo, old: Node | None, new: Node) -> bool:
        before = old.metadata.labels if old is not None else {}
        after = new.metadata.labels
        if any(
            t.topology_key in after and after.get(t.topology_key) != before.get(t.topology_key)
            for t in pod.terms.required_affinity
        ):
            return True
        if old is None:
            # A Pod without terms of its own was kept away by others; a fresh node holds none.
            return not pod.terms.required_affinity
        keys = [t.topology_key for t in pod.terms.required_anti_affinity]
        if pod.terms.required_affinity and not keys:
            return False
        return not keys or any(after.get(key) != before.get(key) for key in keys)


def _leaves(terms: Sequence[AffinityTerm], old: PodInfo, new: PodInfo | None) -> bool:
    """Whether a Pod that an anti-affinity term matched no longer is there, or matches."""
    return any(t.matches(old, None) and (new is None or not t.matches(new, None)) for t in terms)
