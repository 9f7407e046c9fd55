"""Why Pods are where they are: the decisions of late, kept bounded, told on the diagnostics socket.

`GET /debug/explain?uid=UID` tells a decision; `POST /debug/explain` with a Pod as JSON tells what
would be decided now, without creating or promising anything.
"""

import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from podpath.api import json_codec
from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Pod
from scheduler.cache import Cache
from scheduler.framework.runtime import Framework, PluginError
from scheduler.pod_info import PodInfo
from scheduler.queue import QueuedPod
from scheduler.schedule_one import Decision, SchedulingAlgorithm

DECISIONS_MAX = 4096
BYTES_MAX = 64 << 20
_PLAIN_BYTES = 20_000
"""Guessed size of a decision that does not know its own."""


@dataclass(frozen=True, slots=True)
class Record:
    """A decision as it was made; `attempts` counts the tries of the Pod."""

    pod: tuple[str, str]
    uid: str
    at: datetime
    attempts: int
    framework: Framework
    decision: Decision
    size: int


class DecisionLog:
    """The last decision of each Pod, oldest dropped first."""

    def __init__(
        self, clock: Clock, *, decisions_max: int = DECISIONS_MAX, bytes_max: int = BYTES_MAX
    ) -> None:
        self._clock = clock
        self._decisions_max = decisions_max
        self._bytes_max = bytes_max
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def keep(self, queued: QueuedPod, framework: Framework, decision: Decision) -> None:
        info = queued.info
        size = int(getattr(decision.explain, "size", _PLAIN_BYTES))
        old = self._records.pop(info.uid, None)
        if old is not None:
            self._bytes -= old.size
        self._records[info.uid] = Record(
            info.key, info.uid, self._clock.now(), queued.attempts, framework, decision, size
        )
        self._bytes += size
        while self._bytes > self._bytes_max or len(self._records) > self._decisions_max:
            _, dropped = self._records.popitem(last=False)
            self._bytes -= dropped.size

    def find(self, uid: str) -> Record | None:
        return self._records.get(uid)


def as_tree(record: Record) -> dict[str, Any]:
    """The decision as JSON: what each node was told, its scores by plugin, and the lot."""
    decision, framework = record.decision, record.framework
    explained = decision.explain() if decision.explain is not None else None
    weights = {entry.plugin.name: entry.weight for entry in framework.score_plugins}
    namespace, name = record.pod
    tree: dict[str, Any] = {
        "pod": f"{namespace}/{name}",
        "uid": record.uid,
        "at": record.at.isoformat(),
        "profile": framework.profile,
        "attempts": record.attempts,
        "node": decision.node_name,
        "evaluated": decision.evaluated,
        "feasible": decision.feasible,
        "message": str(decision.fit_error) if decision.fit_error is not None else "",
        "scores": [],
        "rejected": {},
        "chosenAmong": [],
    }
    if decision.post_filter is not None and decision.post_filter.nominated:
        tree["nominatedNode"] = decision.post_filter.nominated
        tree["victims"] = ["/".join(victim.key) for victim in decision.post_filter.victims]
    if explained is None:
        return tree
    tree["chosenAmong"] = list(explained.chosen_among)
    tree["rejected"] = {
        node: {"plugin": s.plugin, "code": s.code.value, "reasons": list(s.reasons)}
        for node, s in explained.rejected.items()
    }
    tree["scores"] = [
        {
            "node": score.name,
            "total": score.total,
            "plugins": {
                plugin: _part(score.raw.get(plugin), weighted, weights.get(plugin, 1))
                for plugin, weighted in score.by_plugin.items()
            },
        }
        for score in sorted(explained.scores, key=lambda s: (-s.total, s.name))
    ]
    return tree


def _part(raw: int | None, weighted: int, weight: int) -> dict[str, int | None]:
    return {
        "raw": raw,
        "normalized": weighted // weight,
        "weight": weight,
        "weighted": weighted,
    }


class Explainer:
    """The routes of the diagnostics socket."""

    def __init__(
        self, log: DecisionLog, frameworks: Mapping[str, Framework], cache: Cache, clock: Clock
    ) -> None:
        self._log = log
        self._frameworks = frameworks
        self._cache = cache
        self._clock = clock

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/debug/explain", self._explain),
            web.post("/debug/explain", self._what_if),
        )

    async def _explain(self, request: web.Request) -> web.Response:
        record = self._log.find(request.query.get("uid", ""))
        if record is None:
            return _answer({"error": "no decision about this Pod is remembered"}, 404)
        return _answer(as_tree(record))

    async def _what_if(self, request: web.Request) -> web.Response:
        try:
            pod = json_codec.from_json(Pod, orjson.loads(await request.read())).message
            return _answer(as_tree(self.what_if(pod)))
        except (ValueError, PluginError) as error:
            return _answer({"error": str(error)}, 400)

    def what_if(self, pod: Pod) -> Record:
        """Decides as the plain algorithm would now, over all nodes; nothing is changed.

        Raises: ValueError for a scheduler that is not ours; PluginError.
        """
        name = pod.spec.schedulerName or "default-scheduler"
        framework = self._frameworks.get(name)
        if framework is None:
            raise ValueError(f'no profile "{name}" here, only {", ".join(self._frameworks)}')
        pod.metadata.namespace = pod.metadata.namespace or "default"
        info = PodInfo(pod)
        algorithm = SchedulingAlgorithm(random.Random(0), 100)
        decision = algorithm.schedule(framework, info, self._cache.nodes())
        return Record(info.key, "", self._clock.now(), 0, framework, decision, 0)


def _answer(tree: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(tree), status=status, content_type="application/json")
