"""PodTopologySpread over all rows at once: Pods by domain are sums by topology.

The same formulas as plugins/pod_topology_spread.py, which is the reference.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scheduler.node_info import NodeInfo
from scheduler.plugins.pod_topology_spread import NO_LABEL, SKEWED, UNLIMITED, PodTopologySpread
from scheduler.plugins.spread_constraints import HARD, HOSTNAME, SOFT, Constraint
from scheduler.pod_info import PodInfo
from scheduler.vectorised.node_table import Ints, NodeTable
from scheduler.vectorised.verdicts import Codes, StatusBook

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


class SpreadOfClass:
    """What spreading asks of Pods of one class. Constraints may change with services."""

    def __init__(self, table: NodeTable, plugin: PodTopologySpread, pod: PodInfo) -> None:
        self._table = table
        self._plugin = plugin
        self._pod = pod
        self._version = -1
        self._constraints_as_of = -1
        self._hard: tuple[Constraint, ...] = ()
        self._soft: tuple[Constraint, ...] = ()
        self._masks: dict[tuple[Constraint, tuple[Constraint, ...]], Bools] = {}

    def refresh(self) -> None:
        """Raises: SelectorError."""
        as_of = self._plugin.constraints_generation()
        if self._constraints_as_of != as_of:
            self._hard = self._plugin.constraints(self._pod, HARD)
            self._soft = self._plugin.constraints(self._pod, SOFT)
            self._constraints_as_of = as_of
        if self._version != self._table.static_version:
            self._version = self._table.static_version
            self._masks.clear()

    @property
    def filters(self) -> bool:
        return bool(self._hard)

    @property
    def scores(self) -> bool:
        return bool(self._soft)

    def _counted(self, constraint: Constraint, all_keys: tuple[Constraint, ...]) -> Bools:
        """Rows whose Pods count: they have every key of `all_keys`, and the policies allow it."""
        found = self._masks.get((constraint, all_keys))
        if found is None:
            found = np.ones(len(self._table), dtype=np.bool_)
            for other in all_keys:
                topology = self._table.topology(other.topology_key)
                found &= topology.ids < topology.size
            if constraint.honor_affinity or constraint.honor_taints:
                found &= self._allowed(constraint, self._table.infos)
            self._masks[constraint, all_keys] = found
        return found

    def _allowed(self, constraint: Constraint, nodes: Sequence[NodeInfo]) -> Bools:
        pod = self._pod.pod
        affinity = pod.spec.affinity.nodeAffinity
        restricted = bool(pod.spec.nodeSelector) or affinity.HasField(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        if not constraint.honor_taints and not restricted:
            return np.ones(len(nodes), dtype=np.bool_)
        return np.array(
            [n.node is not None and constraint.counts_node(pod, n.node) for n in nodes],
            dtype=np.bool_,
        )

    def _pods(self, constraint: Constraint) -> Ints:
        """Matching Pods of each row."""
        namespace, selector = self._pod.key[0], constraint.selector
        if selector.everything:
            return np.zeros(len(self._table), dtype=np.int64)
        return self._table.counts.matching(
            ("spread", namespace, selector),
            lambda other: (
                other.key[0] == namespace
                and not other.is_terminating
                and selector.matches(other.labels)
            ),
        )

    def filter(self, codes: Codes, book: StatusBook) -> Codes:
        """Adds the constraints' verdicts where nothing was wrong before."""
        found = codes.copy()
        for constraint in self._hard:
            topology = self._table.topology(constraint.topology_key)
            mask = self._counted(constraint, self._hard)
            sums = topology.sums(np.where(mask, self._pods(constraint), 0))
            present = np.bincount(topology.ids[mask], minlength=topology.size + 1) > 0
            present[topology.size] = False
            itself = int(constraint.selector.matches(self._pod.labels))
            least = self._least(constraint, sums, present)
            sums[topology.size] = 0
            skewed = sums[topology.ids] + itself - least > constraint.max_skew
            unlabelled = topology.ids == topology.size
            verdict = np.where(
                unlabelled, book.number(NO_LABEL), np.where(skewed, book.number(SKEWED), 0)
            )
            found = np.where(found == 0, verdict, found)
        return found.astype(np.int32, copy=False)

    @staticmethod
    def _least(constraint: Constraint, sums: Ints, present: Bools) -> int:
        domains = int(np.count_nonzero(present))
        if domains == 0:
            return UNLIMITED
        return 0 if domains < constraint.min_domains else int(sums[present].min())

    def score(self, rows: Rows) -> tuple[Ints, Ints]:
        """(raw, normalized) of the feasible rows."""
        require_all = self._plugin.requires_all_keys(self._pod)
        taking_part = np.ones(len(rows), dtype=np.bool_)
        if require_all:
            for constraint in self._soft:
                topology = self._table.topology(constraint.topology_key)
                taking_part &= topology.ids[rows] < topology.size
        score = np.zeros(len(rows), dtype=np.float64)
        for constraint in self._soft:
            score = self._add(score, constraint, rows, taking_part, require_all=require_all)
        raw = np.floor(score + 0.5).astype(np.int64)
        raw[~taking_part] = 0
        return raw, _normalize(raw, taking_part)

    def _add(
        self,
        score: npt.NDArray[np.float64],
        constraint: Constraint,
        rows: Rows,
        taking_part: Bools,
        *,
        require_all: bool,
    ) -> npt.NDArray[np.float64]:
        topology = self._table.topology(constraint.topology_key)
        pods = self._pods(constraint)
        ids = topology.ids[rows]
        if constraint.topology_key == HOSTNAME:
            counts = pods[rows]
            size = int(np.count_nonzero(taking_part))
        else:
            mask = self._counted(constraint, self._soft if require_all else ())
            counts = topology.sums(np.where(mask, pods, 0))[ids]
            size = int(np.count_nonzero(np.bincount(ids[taking_part])))
        added = counts * math.log(size + 2) + (constraint.max_skew - 1)
        return score + np.where(ids < topology.size, added, 0.0)


def _normalize(raw: Ints, taking_part: Bools) -> Ints:
    if not taking_part.any():
        return np.zeros(len(raw), dtype=np.int64)
    scores = raw[taking_part]
    lowest, highest = int(scores.min()), int(scores.max())
    if highest == 0:
        return np.where(taking_part, 100, 0)
    return np.where(taking_part, 100 * (highest + lowest - raw) // highest, 0)
