"""What our scheduler decides in a scenario, in a form that can be recorded and compared."""

import random
from typing import Any

from podpath.api import json_codec, scheme
from podpath.component_base.clock import SystemClock
from protos.k8s.core_v1_pb2 import Namespace, Node, Pod
from scheduler.cache import Cache
from scheduler.framework.handle import Handle
from scheduler.listers import StoreListers
from scheduler.plugins.default_preemption import DefaultPreemption
from scheduler.plugins.registry import default_framework
from scheduler.pod_info import PodInfo
from scheduler.schedule_one import SchedulingAlgorithm
from scheduler.vectorised.algorithm import VectorisedAlgorithm
from tests.differential.scenarios import HIGH, Scenario, Tree

NAMESPACES = {"default": {}, "other": {"team": "o"}}


def decide(scenario: Scenario, *, vectorised: bool = True) -> dict[str, Any]:
    """{"totals": by feasible node, "best", "message", "evictions": node -> victims}."""
    namespaces = [
        (scheme.NAMESPACES, Namespace(metadata={"name": name, "labels": labels}))
        for name, labels in NAMESPACES.items()
    ]
    others = [(r, json_codec.from_json(r.message, tree).message) for r, tree in scenario.others]
    cache, listers = Cache(), StoreListers.holding(namespaces + others)
    handle = Handle(cache, listers, random.Random(1), SystemClock())
    framework = default_framework(handle)
    for tree in scenario.nodes:
        cache.set_node(json_codec.from_json(Node, tree).message)
    for tree in scenario.placed:
        cache.add(_pod(tree))
    plain = SchedulingAlgorithm(random.Random(1), 100)
    algorithm = VectorisedAlgorithm(framework, cache, listers, plain) if vectorised else plain
    info = PodInfo(_pod(scenario.pod))
    decision = algorithm.schedule(framework, info, cache.nodes())
    explained = decision.explain() if decision.explain is not None else None
    found: dict[str, Any] = {
        "totals": {s.name: s.total for s in explained.scores} if explained else {},
        "parts": {s.name: dict(s.by_plugin) for s in explained.scores} if explained else {},
        "best": sorted(explained.chosen_among) if explained else [],
        "message": "",
        "evictions": {},
    }
    if decision.fit_error is not None:
        found["message"] = str(decision.fit_error)
        preemption = next(
            p for p in framework.pre_enqueue_plugins if isinstance(p, DefaultPreemption)
        )
        error = decision.fit_error
        found["evictions"] = {
            candidate.node_name: sorted(v.key[1] for v in candidate.victims)
            for candidate in preemption.best_candidates(
                decision.state, info, error.by_node, error.absent
            )
        }
    return found


def _pod(tree: Tree) -> Pod:
    made = json_codec.from_json(Pod, tree).message
    meta = made.metadata
    meta.uid = f"{meta.namespace}/{meta.name}"
    if made.spec.priorityClassName:
        made.spec.priority = HIGH
    return made
