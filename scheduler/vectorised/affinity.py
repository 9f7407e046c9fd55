"""InterPodAffinity over all rows at once: Pods by topology pair are sums by topology.

The same formulas as plugins/inter_pod_affinity.py, which is the reference.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from scheduler.listers import Listers
from scheduler.plugins.inter_pod_affinity import (
    ANTI_AFFINITY,
    EXISTING_ANTI_AFFINITY,
    NO_AFFINITY,
    InterPodAffinity,
    matches_all,
    namespace_labels,
)
from scheduler.pod_info import AffinityTerm, PodInfo, WeightedTerm
from scheduler.vectorised.node_table import Ints, NodeTable
from scheduler.vectorised.pod_counts import TermCount
from scheduler.vectorised.verdicts import Codes, StatusBook

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


def needs_namespaces(pod: PodInfo) -> bool:
    """Whether a term looks namespaces up by labels: then only the plain plugin answers."""
    terms = pod.terms
    all_terms = (
        *terms.required_affinity,
        *terms.required_anti_affinity,
        *(w.term for w in terms.preferred_affinity),
        *(w.term for w in terms.preferred_anti_affinity),
    )
    return any(
        not (t.namespace_selector.everything or t.namespace_selector.nothing) for t in all_terms
    )


class AffinityOfClass:
    """What inter-pod terms mean for Pods of one class: their own, and those of placed Pods."""

    def __init__(
        self, table: NodeTable, plugin: InterPodAffinity, pod: PodInfo, listers: Listers
    ) -> None:
        self._table = table
        self._plugin = plugin
        self._pod = pod
        self._listers = listers
        self._terms_version = -1
        self._labels: Mapping[str, str] | None = None
        self._against: list[tuple[AffinityTerm, TermCount]] = []
        self._towards: list[tuple[WeightedTerm, TermCount]] = []
        self._own = plugin.weighted_terms(pod)

    def refresh(self) -> None:
        """Finds the placed Pods' terms that mean this class."""
        counts = self._table.counts
        if not counts.anti_affinity and not counts.weighted:
            self._against, self._towards = [], []
            self._terms_version = counts.terms_version
            return
        labels = namespace_labels(self._pod, self._listers)
        if self._terms_version == counts.terms_version and labels == self._labels:
            return
        self._terms_version, self._labels = counts.terms_version, labels
        self._against = [
            (term, count)
            for term, count in counts.anti_affinity.items()
            if term.matches(self._pod, labels)
        ]
        self._towards = [
            (weighted, count)
            for weighted, count in counts.weighted.items()
            if weighted.term.matches(self._pod, labels)
        ]

    @property
    def filters(self) -> bool:
        terms = self._pod.terms
        return bool(self._against or terms.required_affinity or terms.required_anti_affinity)

    @property
    def scores(self) -> bool:
        if self._own:
            return True
        return bool(self._towards) and not self._plugin.ignore_existing_preferred

    def _matching(self, term: AffinityTerm) -> Ints:
        return self._table.counts.matching(
            ("term", term.namespaces, term.namespace_selector, term.selector),
            lambda other: term.matches(other, None),
        )

    def filter(self, codes: Codes, book: StatusBook) -> Codes:
        """Adds the verdicts where nothing was wrong before."""
        verdict = np.zeros(len(self._table), dtype=np.int64)
        terms = self._pod.terms
        if terms.required_affinity:
            lonely = self._lonely(terms.required_affinity)
            verdict[lonely] = book.number(NO_AFFINITY)
        for term in terms.required_anti_affinity:
            held = self._held(term.topology_key, self._matching(term)) & (verdict == 0)
            verdict[held] = book.number(ANTI_AFFINITY)
        by_key: dict[str, Ints] = {}
        for term, count in self._against:
            known = by_key.get(term.topology_key)
            by_key[term.topology_key] = count.column if known is None else known + count.column
        for key, column in by_key.items():
            held = self._held(key, column) & (verdict == 0)
            verdict[held] = book.number(EXISTING_ANTI_AFFINITY)
        return np.where(codes == 0, verdict, codes).astype(np.int32, copy=False)

    def _held(self, key: str, column: Ints) -> Bools:
        """Rows in whose domain there is any such Pod."""
        topology = self._table.topology(key)
        sums = topology.sums(column)
        sums[topology.size] = 0
        held: Bools = sums[topology.ids] > 0
        return held

    def _lonely(self, terms: Sequence[AffinityTerm]) -> Bools:
        """Rows where not every term finds a Pod that matches all terms."""
        column = self._table.counts.matching(
            ("all", tuple(terms)), lambda other: matches_all(terms, other)
        )
        lonely = np.zeros(len(self._table), dtype=np.bool_)
        unlabelled = np.zeros(len(self._table), dtype=np.bool_)
        found_any = False
        for term in terms:
            topology = self._table.topology(term.topology_key)
            sums = topology.sums(column)
            sums[topology.size] = 0
            found_any = found_any or bool(sums.any())
            lonely |= sums[topology.ids] == 0
            unlabelled |= topology.ids == topology.size
        if not found_any and matches_all(terms, self._pod):
            return unlabelled
        return lonely

    def score(self, rows: Rows) -> tuple[Ints, Ints]:
        """(raw, normalized) of the feasible rows."""
        by_key: dict[str, Ints] = {}
        weighted = [(w, self._matching(w.term)) for w in self._own]
        if self._own or not self._plugin.ignore_existing_preferred:
            weighted += [(w, count.column) for w, count in self._towards]
        for entry, column in weighted:
            key, amount = entry.term.topology_key, column * entry.weight
            by_key[key] = amount if key not in by_key else by_key[key] + amount
        raw = np.zeros(len(rows), dtype=np.int64)
        for key, column in by_key.items():
            topology = self._table.topology(key)
            sums = topology.sums(column)
            sums[topology.size] = 0
            raw += sums[topology.ids[rows]]
        lowest, highest = int(raw.min()), int(raw.max())
        if highest == lowest:
            return raw, np.zeros(len(rows), dtype=np.int64)
        normalized = (100 * ((raw - lowest) / (highest - lowest))).astype(np.int64)
        return raw, normalized
