"""Nodes on which a Pod would fit without some others, and which of them it hurts least to take.

Source: pkg/scheduler/framework/preemption/preemption.go, plugins/defaultpreemption/
default_preemption.go.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podpath.api import selectors
from podpath.api.label_lexer import SelectorError
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget
from scheduler.framework.handle import ClusterView
from scheduler.framework.interface import Extender
from scheduler.framework.runtime import PluginError
from scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)

_HIGHEST_NEGATIVE = 2**31
"""Added to each priority, so that more victims are always worse than fewer."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that would fit once `victims` (most important first) are gone."""

    node_name: str
    victims: tuple[PodInfo, ...]
    violations: int


def importance(pod: PodInfo, now: float) -> tuple[int, float]:
    """Sorts the most important first: by priority, then who has run longer."""
    return (-pod.priority, start_time(pod, now))


def start_time(pod: PodInfo, now: float) -> float:
    """Unix time; `now` for one that has not started."""
    status = pod.pod.status
    if not status.HasField("startTime"):
        return now
    return status.startTime.seconds + status.startTime.nanos / 1e9


def split_by_budgets(
    pods: Sequence[PodInfo], budgets: Sequence[PodDisruptionBudget]
) -> tuple[list[PodInfo], list[PodInfo]]:
    """(those whose eviction breaks a PodDisruptionBudget, the others), in the given order."""
    allowed = [budget.status.disruptionsAllowed for budget in budgets]
    parsed = [_selector(budget) for budget in budgets]
    violating: list[PodInfo] = []
    fine: list[PodInfo] = []
    for pod in pods:
        violated = False
        for i, budget in enumerate(budgets):
            selector = parsed[i]
            if not pod.labels or budget.metadata.namespace != pod.key[0] or selector is None:
                continue
            if selector.everything or not selector.matches(pod.labels):
                continue
            if pod.key[1] in budget.status.disruptedPods:
                continue
            allowed[i] -= 1
            violated = violated or allowed[i] < 0
        (violating if violated else fine).append(pod)
    return violating, fine


def _selector(budget: PodDisruptionBudget) -> selectors.LabelSelector | None:
    try:
        return selectors.from_message(
            budget.spec.selector if budget.spec.HasField("selector") else None
        )
    except SelectorError:
        return None


def best_of(candidates: Sequence[Candidate], now: float) -> list[Candidate]:
    """The least harm: fewest broken budgets, lowest top priority, lowest sum of priorities, fewest
    victims, and of the most important victims those that started last."""
    measures: tuple[Callable[[Candidate], float], ...] = (
        lambda c: c.violations,
        lambda c: c.victims[0].priority if c.victims else -math.inf,
        lambda c: sum(victim.priority + _HIGHEST_NEGATIVE for victim in c.victims),
        lambda c: len(c.victims),
        lambda c: -_earliest_start(c, now),
    )
    best = list(candidates)
    for measure in measures:
        least = min(measure(candidate) for candidate in best)
        best = [candidate for candidate in best if measure(candidate) == least]
        if len(best) == 1:
            break
    return best


def _earliest_start(candidate: Candidate, now: float) -> float:
    """Of the victims with the highest priority."""
    top = candidate.victims[0].priority if candidate.victims else 0
    return min(
        (start_time(v, now) for v in candidate.victims if v.priority == top), default=-math.inf
    )


def ask_extenders(
    candidates: Sequence[Candidate],
    pod: PodInfo,
    extenders: Sequence[Extender],
    cluster: ClusterView,
) -> Sequence[Candidate]:
    """What webhooks that preempt leave of the candidates. Raises: PluginError."""
    for extender in extenders:
        if not candidates:
            break
        if not extender.preempts or not extender.is_interested(pod):
            continue
        try:
            asked = {c.node_name: (c.victims, c.violations) for c in candidates}
            answer = extender.preempt(pod, asked)
            candidates = [
                _told(extender, cluster, name, uids, violations)
                for name, (uids, violations) in answer.items()
                if uids or not extender.is_ignorable
            ]
        except PluginError as error:
            if not extender.is_ignorable:
                raise
            log.info("ignorable extender failed", extra={"error": str(error)})
    return candidates


def _told(
    extender: Extender, cluster: ClusterView, node_name: str, uids: Sequence[str], violations: int
) -> Candidate:
    """The candidate that an extender means: it knows Pods by their uids only."""
    node = cluster.node(node_name)
    if node is None:
        raise PluginError(f'nodeinfo not found for node name "{node_name}"')
    if not uids:
        raise PluginError(f'expected at least one victim pod on node "{node_name}"')
    unknown = next((uid for uid in uids if uid not in node.pods), None)
    if unknown is not None:
        raise PluginError(
            f"extender: {extender.name} claims to preempt pod (UID: {unknown}) on node: "
            f"{node_name}, but the pod is not found on that node"
        )
    return Candidate(node_name, tuple(node.pods[uid] for uid in uids), violations)
