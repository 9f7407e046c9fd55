"""All nodes as columns of numbers, kept by deltas: a placement changes one row.

Rows are in the order of `Cache.nodes()`; when that order changes, everything is built anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scheduler.cache import Cache
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo
from scheduler.vectorised.pod_counts import PodCounts, ScoreTerms

Ints = npt.NDArray[np.int64]

NATIVE = ("cpu", "memory", "ephemeral-storage")
LOG_ROWS_MAX = 4


@dataclass(frozen=True, slots=True)
class Topology:
    """A label as numbers: `ids` of each row, -1 where the node lacks it; how many values."""

    ids: Ints
    size: int

    def sums(self, amounts: Ints) -> Ints:
        """The amounts of all rows of a domain, by domain; the last entry is for rows without."""
        # float64 is exact here: the sums are numbers of Pods times weights.
        return np.bincount(self.ids, weights=amounts, minlength=self.size + 1).astype(np.int64)


class NodeTable:
    """Follows the cache. `log` holds the rows that placements changed, oldest first."""

    def __init__(self, cache: Cache, score_terms: ScoreTerms) -> None:
        """`score_terms`: which terms of a placed Pod give score to others."""
        self._listed: Sequence[NodeInfo] | None = None
        self.infos: Sequence[NodeInfo] = ()
        self.rows: dict[str, int] = {}
        self.counts = PodCounts(score_terms)
        self.layout_version = 0
        """Grows when rows were added, removed or moved."""
        self.static_version = 0
        """Grows when anything of a node but its Pods changed."""
        self.log: list[int] = []
        self.log_start = 0
        cache.observe(self)

    def __len__(self) -> int:
        return len(self.infos)

    @property
    def log_end(self) -> int:
        return self.log_start + len(self.log)

    def refresh(self, nodes: Sequence[NodeInfo]) -> None:
        """To be called before each decision with `Cache.nodes()`."""
        if nodes is not self._listed:
            self._listed = nodes
            self._build(nodes)

    def rows_changed_since(self, position: int) -> list[int] | None:
        """Distinct rows; None when the log does not reach back so far."""
        if position < self.log_start:
            return None
        changed = self.log[position - self.log_start :]
        return changed if len(changed) < 2 else list(set(changed))

    def _build(self, nodes: Sequence[NodeInfo]) -> None:
        count = len(nodes)
        self.infos = nodes
        self.rows = {info.name: row for row, info in enumerate(nodes)}
        self.allocatable = {name: _column(count) for name in NATIVE}
        self.requested = {name: _column(count) for name in NATIVE}
        self.nonzero = {name: _column(count) for name in ("cpu", "memory")}
        self.allowed_pods = _column(count)
        self.pod_count = _column(count)
        self.layout_version += 1
        for row, info in enumerate(nodes):
            self._read_node(row, info)
            self._read_pods(row, info)
        self.counts.rebuild(nodes)
        self._forget_log()
        self._changed()

    def _changed(self) -> None:
        self.static_version += 1
        self._topologies: dict[str, Topology] = {}
        self._taint_groups: Ints | None = None

    def _forget_log(self) -> None:
        self.log_start += len(self.log) + 1
        self.log.clear()

    def _read_node(self, row: int, info: NodeInfo) -> None:
        self.allowed_pods[row] = info.allowed_pods
        for name in (*NATIVE, *info.allocatable.scalars):
            self.column(self.allocatable, name)[row] = info.allocatable.get(name)
        for name in set(self.allocatable) - {*NATIVE, *info.allocatable.scalars}:
            self.allocatable[name][row] = 0

    def _read_pods(self, row: int, info: NodeInfo) -> None:
        used, nonzero = info.requested, info.nonzero_requested
        self.pod_count[row] = len(info.pods)
        self.requested["cpu"][row] = used.milli_cpu
        self.requested["memory"][row] = used.memory
        self.requested["ephemeral-storage"][row] = used.ephemeral_storage
        self.nonzero["cpu"][row] = nonzero.milli_cpu
        self.nonzero["memory"][row] = nonzero.memory
        for name, amount in used.scalars.items():
            self.column(self.requested, name)[row] = amount

    def column(self, columns: dict[str, Ints], name: str) -> Ints:
        """A resource's column; zeros for one that nobody has."""
        column = columns.get(name)
        if column is None:
            column = columns[name] = _column(len(self.infos))
        return column

    def topology(self, key: str) -> Topology:
        found = self._topologies.get(key)
        if found is None:
            numbers: dict[str, int] = {}
            ids = np.array(
                [
                    numbers.setdefault(info.labels[key], len(numbers)) if key in info.labels else -1
                    for info in self.infos
                ],
                dtype=np.int64,
            )
            # Rows without the label get a domain of their own at the end, so that bincount works.
            size = len(numbers)
            found = Topology(np.where(ids < 0, size, ids), size)
            self._topologies[key] = found
        return found

    def taint_groups(self) -> tuple[Ints, list[NodeInfo]]:
        """(group of each row, a node of each group): nodes with the same taints are alike."""
        if self._taint_groups is None:
            numbers: dict[tuple[object, ...], int] = {}
            groups = _column(len(self.infos))
            self._taint_examples: list[NodeInfo] = []
            for row, info in enumerate(self.infos):
                assert info.node is not None
                spec = info.node.spec
                key = (spec.unschedulable, *(t.SerializeToString() for t in spec.taints))
                if key not in numbers:
                    numbers[key] = len(numbers)
                    self._taint_examples.append(info)
                groups[row] = numbers[key]
            self._taint_groups = groups
        return self._taint_groups, self._taint_examples

    # Observer of the cache.

    def node_changed(self, node: NodeInfo) -> None:
        row = self.rows.get(node.name)
        if row is not None and node.node is not None and self.infos[row] is node:
            self._read_node(row, node)
            self._changed()

    def pod_placed(self, node: NodeInfo, pod: PodInfo) -> None:
        self._moved(node, pod, 1)

    def pod_displaced(self, node: NodeInfo, pod: PodInfo) -> None:
        self._moved(node, pod, -1)

    def _moved(self, node: NodeInfo, pod: PodInfo, delta: int) -> None:
        row = self.rows.get(node.name)
        if row is None or self.infos[row] is not node:
            return
        self._read_pods(row, node)
        self.counts.moved(row, pod, delta)
        self.log.append(row)
        if len(self.log) > LOG_ROWS_MAX * len(self.infos) + 1000:
            self._forget_log()


def _column(count: int) -> Ints:
    return np.zeros(count, dtype=np.int64)
