"""Why Pods are where they are: the decisions of late, kept bounded, told in words and numbers."""

import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Pod
from protos.podpath import scheduler_v1_pb2 as api
from scheduler.cache import Cache
from scheduler.framework.runtime import Framework, NodeScore
from scheduler.framework.status import Status
from scheduler.pod_info import PodInfo
from scheduler.queue import QueuedPod
from scheduler.schedule_one import Decision, SchedulingAlgorithm

DECISIONS_MAX = 4096
BYTES_MAX = 64 << 20
_PLAIN_BYTES = 20_000
"""Guessed size of a decision that does not know its own."""

PodKey = tuple[str, str]  # namespace, name


@dataclass(frozen=True, slots=True)
class Record:
    """A decision as it was made; `attempts` counts the tries of the Pod."""

    pod: PodKey
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

    def find_by_name(self, key: PodKey) -> Record | None:
        """The last Pod of that name. A search: people ask, and rarely."""
        return next((r for r in reversed(self._records.values()) if r.pod == key), None)


def what_if(pod: Pod, frameworks: Mapping[str, Framework], cache: Cache, clock: Clock) -> Record:
    """Decides as the plain algorithm would now, over all nodes; nothing is changed.

    Raises: ValueError for a scheduler that is not ours; PluginError.
    """
    name = pod.spec.schedulerName or "default-scheduler"
    framework = frameworks.get(name)
    if framework is None:
        raise ValueError(f'no profile "{name}" here, only {", ".join(frameworks)}')
    pod.metadata.namespace = pod.metadata.namespace or "default"
    info = PodInfo(pod)
    algorithm = SchedulingAlgorithm(random.Random(0), 100)
    decision = algorithm.schedule(framework, info, cache.nodes())
    return Record(info.key, "", clock.now(), 0, framework, decision, 0)


def told(record: Record) -> api.Decision:
    """The decision as others read it: what each node was told, its scores by plugin, the lot."""
    decision, framework = record.decision, record.framework
    message = api.Decision(
        pod=_name(record.pod),
        uid=record.uid,
        profile=framework.profile,
        attempts=record.attempts,
        node=decision.node_name,
        evaluated_nodes=decision.evaluated,
        feasible_nodes=decision.feasible,
        message=str(decision.fit_error) if decision.fit_error is not None else "",
    )
    message.decided_at.FromDatetime(record.at)
    result = decision.post_filter
    if result is not None and result.nominated:
        message.preemption.nominated_node = result.nominated
        message.preemption.victims.extend(_name(victim.key) for victim in result.victims)
    explained = decision.explain() if decision.explain is not None else None
    if explained is not None:
        weights = {entry.plugin.name: entry.weight for entry in framework.score_plugins}
        ranked = sorted(explained.scores, key=lambda score: (-score.total, score.name))
        message.scores.extend(_score(score, weights) for score in ranked)
        message.rejections.extend(_rejections(explained.rejected))
        message.chosen_among.extend(explained.chosen_among)
    return message


def _name(key: PodKey) -> api.PodName:
    return api.PodName(namespace=key[0], name=key[1])


def _score(score: NodeScore, weights: Mapping[str, int]) -> api.NodeScore:
    message = api.NodeScore(node=score.name, total=score.total)
    for plugin, weighted in score.by_plugin.items():
        weight = weights.get(plugin, 1)
        message.plugins.add(
            plugin=plugin,
            raw=score.raw.get(plugin),
            normalized=weighted // weight,
            weight=weight,
            weighted=weighted,
        )
    return message


def _rejections(rejected: Mapping[str, Status]) -> Iterator[api.Rejection]:
    """One for each verdict, with its nodes."""
    nodes: dict[Status, list[str]] = {}
    for node, status in rejected.items():
        nodes.setdefault(status, []).append(node)
    for status, names in sorted(nodes.items(), key=lambda item: (item[0].plugin, item[0].reasons)):
        yield api.Rejection(
            plugin=status.plugin, code=status.code.value, reasons=status.reasons, nodes=names
        )
