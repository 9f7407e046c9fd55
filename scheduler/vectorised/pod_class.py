"""What the plugins that look at one node at a time say about Pods of one kind, for all rows.

Computed once as array operations; after that a placement costs the plain plugins' work on the one
row it changed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SUCCESS, Code, unresolvable, unschedulable
from scheduler.node_info import NodeInfo
from scheduler.plugins.image_locality import ImageLocality, normalized_image_name
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_ports import NodePorts
from scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from scheduler.plugins.node_resources_fit import NodeResourcesFit
from scheduler.plugins.resource_scores import (
    DEFAULT_RESOURCES,
    NATIVE,
    ResourceSpec,
    least_allocated,
    most_allocated,
    usual_scores,
)
from scheduler.pod_info import PodInfo
from scheduler.vectorised.node_table import Ints, NodeTable
from scheduler.vectorised.verdicts import Codes, StatusBook

SCORES = ("NodeResourcesFit", "NodeResourcesBalancedAllocation", "ImageLocality")
"""Score plugins that look at one node at a time and need no normalizing."""
_IMAGES = SCORES.index("ImageLocality")
MANY_ROWS = 24
"""From so many changed rows on, array operations over all rows are cheaper than single rows."""


class LocalPlugins:
    """The plugins of a profile that look at one node at a time, by name."""

    def __init__(self, filters: Sequence[Any], weights: dict[str, tuple[Any, int]]) -> None:
        """`filters` in their order; `weights`: score plugin and weight by name."""
        self.filters = list(filters)
        self.scores = {name: weights[name] for name in SCORES if name in weights}
        self.scoring = [(SCORES.index(name), *entry) for name, entry in self.scores.items()]
        self.are_usual = all(
            name in self.scores and self.scores[name][0].resources == DEFAULT_RESOURCES
            for name in SCORES[:2]
        ) and (self.scores[SCORES[0]][0].scorer is least_allocated)
        """Whether both resource scores are those that `usual_scores` gives."""
        self.taints = weights.get("TaintToleration")
        self.affinity = weights.get("NodeAffinity")


class PodClass:
    """Codes and scores of all rows for Pods with one signature."""

    def __init__(self, table: NodeTable, plugins: LocalPlugins, pod: PodInfo) -> None:
        self._table = table
        self._plugins = plugins
        # Of its own: the cache replaces the message of a placed Pod by the bound one.
        self.pod = PodInfo(pod.pod)
        self.book = StatusBook()
        self._static_version = -1
        self._seen = 0
        self._state = CycleState()
        self._is_rejected = False
        self._active = self._active_filters()
        spec = pod.pod.spec
        preferred = spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution
        self.has_preferred = plugins.affinity is not None and (
            bool(preferred) or bool(getattr(plugins.affinity[0], "has_added_preferred", False))
        )
        self.extension: Any = None
        """What cross-node plugins keep for this class."""

    @property
    def is_narrowed(self) -> bool:
        """PreFilter rejects the Pod, or leaves only nodes that it names."""
        return self._is_rejected or self._state.only_nodes is not None

    def _active_filters(self) -> list[Any]:
        active = []
        for plugin in self._plugins.filters:
            pre_filter = getattr(plugin, "pre_filter", None)
            if pre_filter is not None:
                status = pre_filter(self._state, self.pod, ())
                if status.code is Code.SKIP:
                    continue
                self._is_rejected = self._is_rejected or status.code is not Code.SUCCESS
            active.append(plugin)
        return active

    def refresh(self) -> None:
        """Catches up with what changed since the last decision."""
        table = self._table
        if self._static_version != table.static_version:
            self._compute_all()
            return
        rows = table.rows_changed_since(self._seen)
        if rows is None or len(rows) > MANY_ROWS:
            self._compute_dynamic()
        else:
            for row in rows:
                self._compute_row(row)
        self._seen = table.log_end

    # All rows.

    def _compute_all(self) -> None:
        table, count = self._table, len(self._table)
        self._static_version = table.static_version
        self.static_codes: Codes = np.zeros(count, dtype=np.int32)
        self.soft_taints: Ints = np.zeros(count, dtype=np.int64)
        self.preferred: Ints = np.zeros(count, dtype=np.int64)
        # Narrow, because each decision keeps a copy for its explanation.
        self.raw: npt.NDArray[np.int16] = np.zeros((len(SCORES), count), dtype=np.int16)
        self._compute_static()
        self.has_soft_taints = bool(self.soft_taints.any())
        taints = self._plugins.taints
        # Without soft taints all nodes have the best score for them.
        self._constant = 100 * taints[1] if taints is not None and not self.has_soft_taints else 0
        self._compute_dynamic()
        self._seen = table.log_end

    def _compute_static(self) -> None:
        """What follows from the node alone: taints by groups, affinity and images by node."""
        groups, examples = self._table.taint_groups()
        for plugin in self._active:
            if isinstance(plugin, NodeResourcesFit | NodePorts):
                continue
            if isinstance(plugin, NodeAffinity):
                found = np.array(
                    [self._filter_number(plugin, node) for node in self._table.infos],
                    dtype=np.int32,
                )
            else:
                by_group = [self._filter_number(plugin, node) for node in examples]
                found = np.array(by_group, dtype=np.int32)[groups]
            self.static_codes = np.where(self.static_codes == 0, found, self.static_codes)
        if self._plugins.taints is not None:
            plugin = self._plugins.taints[0]
            plugin.pre_score(self._state, self.pod, ())
            by_group = [plugin.score(self._state, self.pod, node) for node in examples]
            self.soft_taints = np.array(by_group, dtype=np.int64)[groups]
        if self.has_preferred and self._plugins.affinity is not None:
            plugin = self._plugins.affinity[0]
            self.preferred = np.array(
                [plugin.score(self._state, self.pod, node) for node in self._table.infos],
                dtype=np.int64,
            )
        if "ImageLocality" in self._plugins.scores:
            self._score_images(self._plugins.scores["ImageLocality"][0])

    def _filter_number(self, plugin: Any, node: NodeInfo) -> int:
        return self.book.number(plugin.filter(self._state, self.pod, node))

    def _score_images(self, plugin: ImageLocality) -> None:
        spec = self.pod.pod.spec
        names = {normalized_image_name(c.image) for c in (*spec.initContainers, *spec.containers)}
        row_of_images = self.raw[SCORES.index("ImageLocality")]
        for row, node in enumerate(self._table.infos):
            if node.images and not names.isdisjoint(node.images):
                row_of_images[row] = plugin.score(self._state, self.pod, node)

    def _compute_dynamic(self) -> None:
        """What follows from the Pods on each node: resources and ports."""
        codes = self.static_codes.copy()
        for plugin in self._active:
            if isinstance(plugin, NodeResourcesFit):
                codes = np.where(codes == 0, self._fit_codes(plugin), codes)
            elif isinstance(plugin, NodePorts):
                for row in np.flatnonzero(codes == 0).tolist():
                    codes[row] = self._filter_number(plugin, self._table.infos[row])
        self.codes: Codes = codes.astype(np.int32, copy=False)
        for i, name in enumerate(SCORES[:2]):
            if name in self._plugins.scores:
                self.raw[i] = self._score_column(self._plugins.scores[name][0])
        self._sum_up()

    def _sum_up(self) -> None:
        total = np.full(len(self._table), self._constant, dtype=np.int64)
        for i, name in enumerate(SCORES):
            if name in self._plugins.scores:
                total += self.raw[i].astype(np.int64) * self._plugins.scores[name][1]
        self.totals: Ints = total
        self._count_feasible()

    def _count_feasible(self) -> None:
        self.feasible: npt.NDArray[np.intp] = np.flatnonzero(self.codes == 0)

    def _fit_codes(self, plugin: NodeResourcesFit) -> npt.NDArray[np.int32]:
        """A bit for each missing resource, and whether there could ever be enough."""
        table, asked = self._table, self.pod.request
        bits = (table.pod_count + 1 > table.allowed_pods).astype(np.int64)
        names = [n for n in (*NATIVE, *asked.scalars) if asked.get(n) > 0]
        names = [n for n in names if not plugin.ignores(n)]
        for i, name in enumerate(names):
            request = asked.get(name)
            most = table.column(table.allocatable, name)
            free = most - table.column(table.requested, name)
            bits |= (request > free).astype(np.int64) << (2 * i + 1)
            bits |= ((request > free) & (request > most)).astype(np.int64) << (2 * i + 2)
        found = np.zeros(len(table), dtype=np.int32)
        if bits.any():
            for value in np.unique(bits).tolist():
                if value:
                    found[bits == value] = self._fit_number(plugin.name, value, names)
        return found

    def _fit_number(self, plugin: str, bits: int, names: Sequence[str]) -> int:
        reasons = ["Too many pods"] if bits & 1 else []
        reasons += [f"Insufficient {n}" for i, n in enumerate(names) if bits >> (2 * i + 1) & 1]
        never = any(bits >> (2 * i + 2) & 1 for i in range(len(names)))
        say = unresolvable if never else unschedulable
        return self.book.number(say(plugin, *reasons))

    def _score_column(self, plugin: Any) -> Ints:
        """As array operations where the strategy allows, else node by node."""
        if isinstance(plugin, NodeResourcesFit):
            resources = [r for r in plugin.resources if self._counts(r, nonzero=True)]
            if plugin.scorer in (least_allocated, most_allocated):
                return self._weighted_mean(resources, least=plugin.scorer is least_allocated)
        elif isinstance(plugin, NodeResourcesBalancedAllocation):
            resources = [r for r in plugin.resources if self._counts(r, nonzero=False)]
            table = self._table
            if len(resources) == 2 and all(
                table.column(table.allocatable, r.name).all() for r in resources
            ):
                return self._balanced(resources)
        return np.array(
            [plugin.score(self._state, self.pod, node) for node in self._table.infos],
            dtype=np.int64,
        )

    def _counts(self, resource: ResourceSpec, *, nonzero: bool) -> bool:
        """An extended resource that the Pod does not ask for is left out."""
        asked = self.pod.nonzero_request if nonzero else self.pod.request
        return resource.name in NATIVE or asked.get(resource.name) != 0

    def _used(self, name: str, *, nonzero: bool) -> Ints:
        """What would be requested with the Pod there."""
        table, pod = self._table, self.pod
        if nonzero and name in table.nonzero:
            return table.nonzero[name] + pod.nonzero_request.get(name)
        asked = pod.nonzero_request if nonzero else pod.request
        return table.column(table.requested, name) + asked.get(name)

    def _weighted_mean(self, resources: Sequence[ResourceSpec], *, least: bool) -> Ints:
        table = self._table
        score = np.zeros(len(table), dtype=np.int64)
        weights = np.zeros(len(table), dtype=np.int64)
        for resource in resources:
            most = table.column(table.allocatable, resource.name)
            used = self._used(resource.name, nonzero=True)
            divisor = np.maximum(most, 1)
            if least:
                each = np.where(used > most, 0, (most - used) * 100 // divisor)
            else:
                each = np.minimum(used, most) * 100 // divisor
            score += np.where(most > 0, each * resource.weight, 0)
            weights += np.where(most > 0, resource.weight, 0)
        return np.where(weights > 0, score // np.maximum(weights, 1), 0)

    def _balanced(self, resources: Sequence[ResourceSpec]) -> Ints:
        table = self._table
        first, second = (
            np.minimum(
                self._used(r.name, nonzero=False) / table.column(table.allocatable, r.name), 1.0
            )
            for r in resources
        )
        found: Ints = ((1 - np.abs((first - second) / 2)) * 100).astype(np.int64)
        return found

    # One row.

    def _compute_row(self, row: int) -> None:
        node, pod = self._table.infos[row], self.pod
        code = int(self.static_codes[row])
        if code == 0:
            for plugin in self._active:
                if isinstance(plugin, NodeResourcesFit):
                    status = (
                        plugin.filter(self._state, pod, node)
                        if not plugin.fits_easily(pod, node)
                        else SUCCESS
                    )
                elif isinstance(plugin, NodePorts):
                    status = plugin.filter(self._state, pod, node)
                else:
                    continue
                if status is not SUCCESS:
                    code = self.book.number(status)
                    break
        usual = usual_scores(pod, node) if self._plugins.are_usual else None
        total = self._constant
        for i, plugin, weight in self._plugins.scoring:
            if i == _IMAGES:
                score = int(self.raw[i, row])
            else:
                score = usual[i] if usual else plugin.score(self._state, pod, node)
                self.raw[i, row] = score
            total += score * weight
        self.totals[row] = total
        was_feasible = self.codes[row] == 0
        self.codes[row] = code
        if was_feasible != (code == 0):
            self._count_feasible()
