"""Numbers of Pods by node: those that a selector matches, and those that have a certain term.

Both are kept by deltas. A Pod's labels decide which counters it moves; Pods with the same labels
share that answer.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from scheduler.node_info import NodeInfo
from scheduler.pod_info import AffinityTerm, PodInfo, WeightedTerm

Ints = npt.NDArray[np.int64]
Matches = Callable[[PodInfo], bool]
ScoreTerms = Callable[[PodInfo], Sequence[WeightedTerm]]

COUNTERS_MAX = 512
"""Beyond this, counters begin anew: workloads come and go."""

TermT = TypeVar("TermT", bound=Hashable)


@dataclass(slots=True)
class TermCount:
    """Pods with one term, by row."""

    column: Ints
    total: int = 0


class PodCounts:
    """`score_terms` tells which terms of a placed Pod score."""

    def __init__(self, score_terms: ScoreTerms) -> None:
        self._nodes: Sequence[NodeInfo] = ()
        self._counters: dict[Hashable, tuple[Matches, Ints]] = {}
        self._moved_by: dict[Hashable, list[Ints]] = {}  # labels -> columns
        self._score_terms = score_terms
        self.anti_affinity: dict[AffinityTerm, TermCount] = {}
        self.weighted: dict[WeightedTerm, TermCount] = {}
        self.terms_version = 0

    def rebuild(self, nodes: Sequence[NodeInfo]) -> None:
        self._nodes = nodes
        self._counters.clear()
        self._moved_by.clear()
        self.anti_affinity.clear()
        self.weighted.clear()
        self.terms_version += 1
        for row, node in enumerate(nodes):
            for pod in node.pods_with_affinity.values():
                self._move_terms(row, pod, 1)

    def matching(self, key: Hashable, matches: Matches) -> Ints:
        """How many Pods of each row match; `key` names the question, and equal keys ask the same.

        The answer must follow from namespace, labels and whether the Pod is terminating.
        """
        found = self._counters.get(key)
        if found is None:
            if len(self._counters) >= COUNTERS_MAX:
                self._counters.clear()
            self._moved_by.clear()
            column = np.zeros(len(self._nodes), dtype=np.int64)
            known: dict[Hashable, bool] = {}
            for row, node in enumerate(self._nodes):
                for pod in node.pods.values():
                    labels = _labels_key(pod)
                    if labels not in known:
                        known[labels] = matches(pod)
                    column[row] += known[labels]
            found = self._counters[key] = (matches, column)
        return found[1]

    def moved(self, row: int, pod: PodInfo, delta: int) -> None:
        """A Pod came to a row (1) or left it (-1)."""
        if self._counters:
            labels = _labels_key(pod)
            columns = self._moved_by.get(labels)
            if columns is None:
                columns = [c for matches, c in self._counters.values() if matches(pod)]
                self._moved_by[labels] = columns
            for column in columns:
                column[row] += delta
        if pod.terms.any:
            self._move_terms(row, pod, delta)

    def _move_terms(self, row: int, pod: PodInfo, delta: int) -> None:
        self._move(self.anti_affinity, pod.terms.required_anti_affinity, row, delta)
        self._move(self.weighted, self._score_terms(pod), row, delta)

    def _move(
        self, counts: dict[TermT, TermCount], terms: Iterable[TermT], row: int, delta: int
    ) -> None:
        for term in terms:
            count = counts.get(term)
            if count is None:
                count = counts[term] = TermCount(np.zeros(len(self._nodes), dtype=np.int64))
                self.terms_version += 1
            count.column[row] += delta
            count.total += delta
            if count.total == 0:
                del counts[term]
                self.terms_version += 1


def _labels_key(pod: PodInfo) -> Hashable:
    return (pod.key[0], frozenset(pod.labels.items()), pod.is_terminating)
