"""The scheduling cycle as array operations, for profiles of in-tree plugins.

Pods with the same signature share the work: verdicts and scores of all rows are kept for their
class, and a placement changes one row of them. What cannot be said in arrays (volumes, namespace
selectors, extenders, a nomination of the Pod's own) goes to the plain algorithm, which is the
reference: same cluster, same seed, same decision.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from podpath.api.label_lexer import SelectorError
from scheduler.cache import Cache
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.runtime import Framework, NodeScore
from scheduler.framework.status import FitError
from scheduler.listers import Listers
from scheduler.node_info import NodeInfo
from scheduler.plugins.image_locality import ImageLocality
from scheduler.plugins.inter_pod_affinity import InterPodAffinity
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_name import NodeName
from scheduler.plugins.node_ports import NodePorts
from scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from scheduler.plugins.node_resources_fit import NodeResourcesFit
from scheduler.plugins.node_unschedulable import NodeUnschedulable
from scheduler.plugins.node_volume_limits import NodeVolumeLimits
from scheduler.plugins.pod_topology_spread import PodTopologySpread
from scheduler.plugins.taint_toleration import TaintToleration
from scheduler.plugins.volume_binding import VolumeBinding
from scheduler.plugins.volume_restrictions import VolumeRestrictions
from scheduler.plugins.volume_zone import VolumeZone
from scheduler.pod_info import PodInfo, needs_volume_plugins
from scheduler.schedule_one import (
    Decision,
    Explanation,
    SchedulingAlgorithm,
    rejected,
)
from scheduler.vectorised.affinity import AffinityOfClass, needs_namespaces
from scheduler.vectorised.node_table import Ints, NodeTable
from scheduler.vectorised.pod_class import SCORES, LocalPlugins, PodClass
from scheduler.vectorised.spread import Rows, SpreadOfClass
from scheduler.vectorised.verdicts import Codes, Verdicts

CLASSES_MAX = 256
_UNKNOWN: Any = object()

_STATIC = (NodeUnschedulable, NodeName, TaintToleration, NodeAffinity)
_DYNAMIC = (NodePorts, NodeResourcesFit)
_VOLUMES = (VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone)
_STAGES: tuple[tuple[type[Any], ...], ...] = (
    _STATIC,
    _DYNAMIC,
    _VOLUMES,
    (PodTopologySpread,),
    (InterPodAffinity,),
)
_SCORING = (
    TaintToleration,
    NodeAffinity,
    NodeResourcesFit,
    VolumeBinding,
    PodTopologySpread,
    InterPodAffinity,
    NodeResourcesBalancedAllocation,
    ImageLocality,
)


def supports(framework: Framework) -> bool:
    """Whether all filters and scores are in-tree ones, and the filters in an order we know."""
    stage = 0
    for plugin in framework.filter_plugins:
        while stage < len(_STAGES) and not isinstance(plugin, _STAGES[stage]):
            stage += 1
    if stage >= len(_STAGES):
        return False
    known = tuple(kind for kinds in _STAGES for kind in kinds)
    return all(isinstance(p, known) for p in framework.pre_filter_plugins) and all(
        isinstance(entry.plugin, _SCORING) for entry in framework.score_plugins
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """Feasible rows in the order of the search, their totals, and the parts for explanations."""

    rows: Rows
    totals: Ints
    parts: tuple[tuple[str, Ints, Ints, int], ...]  # plugin, raw, normalized, weight


class VectorisedAlgorithm:
    """One profile's decisions over one cache."""

    def __init__(
        self, framework: Framework, cache: Cache, listers: Listers, reference: SchedulingAlgorithm
    ) -> None:
        """`reference` gives seed, percentage and extenders, and decides what this cannot."""
        self.reference = reference
        self._cache = cache
        self._listers = listers
        self._supported = supports(framework) and not reference.extenders
        self._classes: OrderedDict[tuple[object, ...], PodClass | None] = OrderedDict()
        weights: dict[str, tuple[Any, int]] = {
            e.plugin.name: (e.plugin, e.weight) for e in framework.score_plugins
        }
        by_name: dict[str, Any] = {p.name: p for p in framework.filter_plugins}
        self._local = LocalPlugins(
            [p for p in framework.filter_plugins if isinstance(p, _STATIC + _DYNAMIC)], weights
        )
        self._spread_filter: PodTopologySpread | None = by_name.get("PodTopologySpread")
        self._affinity_filter: InterPodAffinity | None = by_name.get("InterPodAffinity")
        self._spread_score: tuple[Any, int] | None = weights.get("PodTopologySpread")
        self._affinity_score: tuple[Any, int] | None = weights.get("InterPodAffinity")
        scorer: InterPodAffinity | None = self._affinity_score[0] if self._affinity_score else None
        self._table = NodeTable(cache, scorer.existing_terms if scorer else lambda _pod: ())

    def schedule(self, framework: Framework, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Decision:
        """Decides. Raises: PluginError."""
        kind = self._class_of(framework, pod) if self._supported and nodes else None
        if kind is None:
            return self.reference.schedule(framework, pod, nodes)
        self._table.refresh(nodes)
        kind.refresh()
        spread, affinity = self._cross_node(kind)
        try:
            if spread is not None:
                spread.refresh()
        except SelectorError:
            return self.reference.schedule(framework, pod, nodes)
        if affinity is not None:
            affinity.refresh()
        codes = kind.codes
        if spread is not None and self._spread_filter is not None and spread.filters:
            codes = spread.filter(codes, kind.book)
        if affinity is not None and self._affinity_filter is not None and affinity.filters:
            codes = affinity.filter(codes, kind.book)
        if len(framework.nominator):
            if codes is not kind.codes and self._has_rivals(framework, pod):
                return self.reference.schedule(framework, pod, nodes)
            codes = self._beside_rivals(framework, pod, kind, codes)
        return self._decide(framework, pod, kind, codes, (spread, affinity))

    def _class_of(self, framework: Framework, pod: PodInfo) -> PodClass | None:
        """None for what only the plain algorithm can decide."""
        if pod.pod.status.nominatedNodeName or framework.nominator.node_of(pod.uid):
            return None
        signature = pod.signature
        known: PodClass | None = self._classes.get(signature, _UNKNOWN)
        if known is not _UNKNOWN:
            self._classes.move_to_end(signature)
            return known
        spec = pod.pod.spec
        plain = (
            bool(spec.nodeName)
            or bool(pod.terms.error)
            or needs_namespaces(pod)
            or needs_volume_plugins(pod.pod)
        )
        kind = None if plain else PodClass(self._table, self._local, pod)
        if kind is not None and kind.is_narrowed:
            kind = None
        self._classes[signature] = kind
        if len(self._classes) > CLASSES_MAX:
            self._classes.popitem(last=False)
        return kind

    def _cross_node(self, kind: PodClass) -> tuple[SpreadOfClass | None, AffinityOfClass | None]:
        if kind.extension is None:
            spread = self._spread_filter or (self._spread_score and self._spread_score[0])
            affinity = self._affinity_filter or (self._affinity_score and self._affinity_score[0])
            kind.extension = (
                SpreadOfClass(self._table, spread, kind.pod) if spread else None,
                AffinityOfClass(self._table, affinity, kind.pod, self._listers)
                if affinity
                else None,
            )
        found: tuple[SpreadOfClass | None, AffinityOfClass | None] = kind.extension
        return found

    def _has_rivals(self, framework: Framework, pod: PodInfo) -> bool:
        nominator = framework.nominator
        return any(nominator.rivals(pod, name) for name in nominator.nodes())

    def _beside_rivals(
        self, framework: Framework, pod: PodInfo, kind: PodClass, codes: Codes
    ) -> Codes:
        """On nodes that others were promised, the plain filters say whether both fit."""
        nominator = framework.nominator
        for name in nominator.nodes():
            row = self._table.rows.get(name)
            if row is None or not nominator.rivals(pod, name):
                continue
            if codes is kind.codes:
                codes = codes.copy()
            state = CycleState()
            framework.pre_filter(state, pod, self._table.infos)
            codes[row] = kind.book.number(framework.filter_node(state, pod, self._table.infos[row]))
        return codes

    def _decide(
        self,
        framework: Framework,
        pod: PodInfo,
        kind: PodClass,
        codes: Codes,
        cross: tuple[SpreadOfClass | None, AffinityOfClass | None],
    ) -> Decision:
        feasible = kind.feasible if codes is kind.codes else np.flatnonzero(codes == 0)
        count, reference = len(self._table), self.reference
        if len(feasible) == 0:
            return self._rejected(framework, pod, kind, codes)
        # The search begins where the last one stopped, and stops when it has found enough.
        start = reference.next_start
        wanted = reference.wanted(framework, count)
        first = int(feasible.searchsorted(start))
        rows = feasible[first : first + wanted]
        if len(rows) < wanted and first:
            rows = np.concatenate((rows, feasible[: min(first, wanted - len(rows))]))
        evaluated = count if len(rows) < wanted else (int(rows[-1]) - start) % count + 1
        reference.next_start = (start + evaluated) % count
        explain = _Explaining(self, kind, codes, start, evaluated)
        if len(rows) == 1:
            name = self._table.infos[int(rows[0])].name
            explain.chosen_among = (name,)
            return Decision(name, evaluated, 1, CycleState(), explain=explain)
        scored = self._score(kind, rows, cross)
        best = int(scored.totals[scored.totals.argmax()])
        ties = (scored.totals == best).nonzero()[0]
        row = int(rows[ties[reference.rng.randrange(len(ties))]])
        explain.take(scored, ties)
        name = self._table.infos[row].name
        return Decision(name, evaluated, len(rows), CycleState(), best, explain=explain)

    def _score(
        self,
        kind: PodClass,
        rows: Rows,
        cross: tuple[SpreadOfClass | None, AffinityOfClass | None],
    ) -> _Scored:
        totals = kind.totals[rows]
        parts: list[tuple[str, Ints, Ints, int]] = []

        def add(name: str, raw: Ints, normalized: Ints, weight: int) -> None:
            nonlocal totals
            totals = totals + normalized * weight
            parts.append((name, raw, normalized, weight))

        if kind.has_soft_taints and self._local.taints is not None:
            raw = kind.soft_taints[rows]
            add("TaintToleration", raw, 100 - _scaled(raw), self._local.taints[1])
        if kind.has_preferred and self._local.affinity is not None:
            raw = kind.preferred[rows]
            add("NodeAffinity", raw, _scaled(raw), self._local.affinity[1])
        spread, affinity = cross
        if spread is not None and self._spread_score is not None and spread.scores:
            add("PodTopologySpread", *spread.score(rows), self._spread_score[1])
        if affinity is not None and self._affinity_score is not None and affinity.scores:
            add("InterPodAffinity", *affinity.score(rows), self._affinity_score[1])
        return _Scored(rows, totals, tuple(parts))

    def _rejected(
        self, framework: Framework, pod: PodInfo, kind: PodClass, codes: Codes
    ) -> Decision:
        verdicts = Verdicts(codes.copy(), kind.book, self._table.infos)
        state = CycleState()
        lowest = self._cache.lowest_priority()
        if lowest is not None and lowest < pod.priority:
            framework.pre_filter(state, pod, self._table.infos)  # preemption asks the filters
        return rejected(framework, state, pod, FitError(len(self._table), verdicts))

    @property
    def table(self) -> NodeTable:
        return self._table

    @property
    def local(self) -> LocalPlugins:
        return self._local


def _scaled(raw: Ints) -> Ints:
    highest = int(raw.max())
    return raw * 100 // highest if highest else np.zeros(len(raw), dtype=np.int64)


class _Explaining:
    """Keeps copies of the arrays; makes objects of them only when somebody asks."""

    __slots__ = (
        "_codes",
        "_evaluated",
        "_kind",
        "_local",
        "_nodes",
        "_raw",
        "_scored",
        "_soft_taints",
        "_start",
        "_ties",
        "chosen_among",
    )

    def __init__(
        self,
        algorithm: VectorisedAlgorithm,
        kind: PodClass,
        codes: Codes,
        start: int,
        evaluated: int,
    ) -> None:
        self._local = algorithm.local
        self._nodes = algorithm.table.infos
        self._kind = kind.book
        self._codes = codes.copy() if codes is kind.codes else codes
        self._raw = kind.raw.copy()
        self._soft_taints = kind.soft_taints
        self._start, self._evaluated = start, evaluated
        self._scored: _Scored | None = None
        self._ties: Ints | None = None
        self.chosen_among: Sequence[str] = ()

    @property
    def size(self) -> int:
        """Bytes, about."""
        parts = sum(2 * len(part[1]) for part in self._scored.parts) if self._scored else 0
        rows = len(self._scored.rows) if self._scored else 0
        return int(self._codes.nbytes + self._raw.nbytes + 8 * (2 * rows + parts)) + 200

    def take(self, scored: _Scored, ties: Ints) -> None:
        self._scored, self._ties = scored, ties

    def __call__(self) -> Explanation:
        count = len(self._nodes)
        rejected_nodes = {}
        for offset in range(self._evaluated):
            row = (self._start + offset) % count
            code = int(self._codes[row])
            if code:
                rejected_nodes[self._nodes[row].name] = self._kind.statuses[code]
        if self._scored is None or self._ties is None:
            return Explanation(rejected_nodes, (), self.chosen_among)
        rows = self._scored.rows.tolist()
        among = [self._nodes[rows[i]].name for i in self._ties.tolist()]
        scores = [self._node_score(i, row) for i, row in enumerate(rows)]
        return Explanation(rejected_nodes, scores, among)

    def _node_score(self, position: int, row: int) -> NodeScore:
        assert self._scored is not None
        raw: dict[str, int] = {}
        weighted: dict[str, int] = {}
        for i, name in enumerate(SCORES):
            entry = self._local.scores.get(name)
            if entry is not None:
                raw[name] = int(self._raw[i, row])
                weighted[name] = raw[name] * entry[1]
        if self._local.taints is not None:
            raw["TaintToleration"] = int(self._soft_taints[row])
            weighted["TaintToleration"] = 100 * self._local.taints[1]
        for name, values, normalized, weight in self._scored.parts:
            raw[name] = int(values[position])
            weighted[name] = int(normalized[position]) * weight
        total = int(self._scored.totals[position])
        return NodeScore(self._nodes[row].name, total, weighted, raw)
