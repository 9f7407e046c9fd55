"""One worker for each Pod: rounds of its sync, one at a time, the newest state wins.

A worker's task lives only while there is something to do, so thousands of quiet Pods cost nothing.
A deletion, or a shorter grace period, cuts the round that is under way.

Source: pkg/kubelet/pod_workers.go.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from kubelet.pod_record import Interrupted, PodRecord, PodState
from kubelet.pod_status import PENDING, TERMINAL, Verdict
from kubelet.sync_pod import PodSync, SyncFailed
from kubelet.timers import Timers
from podpath.component_base.clock import Clock
from podpath.component_base.pod_trace import NO_CONTEXT, PodStep, stamp
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)

BACKOFF_S = 10.0
# The first failures of a Pod are mostly races with what it depends on.
FIRST_BACKOFF_S = 0.5
RESYNC_S = 60.0
JITTER = 0.5


@dataclass(slots=True, eq=False)
class _Worker:
    record: PodRecord
    task: asyncio.Task[None] | None = None
    dirty: bool = False
    due: float = 0.0
    failures: int = 0


class PodWorkers:
    """The workers of one node."""

    def __init__(
        self,
        sync: PodSync,
        timers: Timers,
        clock: Clock,
        rng: random.Random,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        forgotten: Callable[[PodRecord], None],
        stopping: Callable[[PodRecord], None],
        resync_s: float = RESYNC_S,
    ) -> None:
        """`forgotten` is called when a Pod has left for good, `stopping` when it begins to end."""
        self._sync = sync
        self._timers = timers
        self._clock = clock
        self._rng = rng
        self._spawn = spawn
        self._forgotten = forgotten
        self._stopping = stopping
        self._resync_s = resync_s
        self._workers: dict[str, _Worker] = {}

    def __contains__(self, uid: object) -> bool:
        return uid in self._workers

    def pods(self) -> list[core.Pod]:
        """All Pods that have a worker."""
        return [worker.record.pod for worker in self._workers.values()]

    def active(self) -> list[PodRecord]:
        """Those that use the node's resources: admitted and not ended."""
        return [
            w.record
            for w in self._workers.values()
            if w.record.admitted and w.record.state is not PodState.TERMINATED
        ]

    def record(self, uid: str) -> PodRecord | None:
        worker = self._workers.get(uid)
        return worker.record if worker is not None else None

    def update(self, pod: core.Pod) -> None:
        """The API server has this Pod, in this state."""
        worker = self._workers.get(pod.metadata.uid)
        if worker is None:
            worker = self._add(pod)
            if worker is None:
                return
        record = worker.record
        old, record.pod = record.pod, pod
        if old is not pod and not concerns_worker(old, pod):
            return
        if pod.metadata.HasField("deletionTimestamp"):
            self._end(worker, pod.metadata.deletionGracePeriodSeconds)
        self._wake(worker)

    def _add(self, pod: core.Pod) -> _Worker | None:
        uid = pod.metadata.uid
        # One that runs already was there before this kubelet: nobody creates it now.
        annotations = pod.metadata.annotations if pod.status.phase == PENDING else NO_CONTEXT
        stamp(PodStep.KUBELET_SAW, uid, pod.spec.nodeName, annotations)
        record = PodRecord(pod)
        worker = self._workers[uid] = _Worker(record)
        if pod.status.phase in TERMINAL:
            # Ended before this kubelet started: nothing runs again, its status stays.
            record.admitted = record.final = True
            record.state = PodState.TERMINATING
        return worker

    def adopt(self, record: PodRecord) -> None:
        """Takes a Pod that only the runtime still has, to be ended."""
        record.wanted = False
        worker = self._workers[record.uid] = _Worker(record)
        self._end(worker, None)
        self._wake(worker)

    def remove(self, uid: str) -> None:
        """The API server has no such Pod any more."""
        worker = self._workers.get(uid)
        if worker is None:
            return
        worker.record.wanted = False
        self._end(worker, worker.record.grace_s)
        self._wake(worker)

    def evict(self, uid: str, verdict: Verdict, grace_s: int) -> None:
        """Ends the Pod on the node's own account; its status says why."""
        worker = self._workers.get(uid)
        if worker is not None and worker.record.state is PodState.SYNCING:
            worker.record.verdict = verdict
            self._end(worker, grace_s)
            self._wake(worker)

    def poke(self, uid: str) -> None:
        """Something about the Pod changed: it gets a round."""
        worker = self._workers.get(uid)
        if worker is not None:
            self._wake(worker)

    def _end(self, worker: _Worker, grace_s: int | None) -> None:
        record = worker.record
        shorter = grace_s is not None and (record.grace_s is None or grace_s < record.grace_s)
        if shorter:
            record.grace_s = grace_s
        if record.state is PodState.SYNCING:
            record.state = PodState.TERMINATING
            self._stopping(record)
        elif not (record.state is PodState.TERMINATING and shorter):
            return
        if worker.task is not None:
            record.interrupted = True
            if not record.critical:
                worker.task.cancel()

    def _wake(self, worker: _Worker) -> None:
        worker.dirty = True
        if worker.task is None:
            worker.task = self._spawn(self._work(worker))

    def _wake_at(self, worker: _Worker, seconds: float) -> None:
        due = self._clock.monotonic() + seconds
        worker.due = due

        def call() -> None:
            # Only the newest appointment counts.
            if worker.due == due and self._workers.get(worker.record.uid) is worker:
                self._wake(worker)

        self._timers.at(due, call)

    async def _work(self, worker: _Worker) -> None:
        delay: float | None = None
        try:
            while worker.dirty:
                worker.dirty = False
                try:
                    delay = await self._round(worker)
                    worker.failures = 0
                except (Interrupted, asyncio.CancelledError) as error:
                    self._swallow(worker, error)
                    worker.dirty = True
                except SyncFailed as error:
                    delay = self._failed(worker, str(error))
                except Exception as error:
                    log.exception("a Pod's round failed unexpectedly")
                    delay = self._failed(worker, str(error))
        finally:
            worker.task = None
        if self._workers.get(worker.record.uid) is worker:
            jittered = self._resync_s * (1 + JITTER * self._rng.random())
            self._wake_at(worker, min(delay, jittered) if delay is not None else jittered)

    def _swallow(self, worker: _Worker, error: BaseException) -> None:
        """An interruption of ours ends the round alone; any other cancellation ends the task."""
        if isinstance(error, Interrupted):
            return
        task = asyncio.current_task()
        if not worker.record.interrupted or task is None:
            raise error
        if task.uncancel() > 0:
            raise error

    def _failed(self, worker: _Worker, reason: str) -> float:
        worker.failures += 1
        meta = worker.record.pod.metadata
        log.info("sync failed", extra={"pod": f"{meta.namespace}/{meta.name}", "error": reason})
        base = min(FIRST_BACKOFF_S * 2.0 ** (worker.failures - 1), BACKOFF_S)
        return base * (1 + JITTER * self._rng.random())

    async def _round(self, worker: _Worker) -> float | None:
        record = worker.record
        if record.state is PodState.SYNCING:
            delay = await self._sync.sync(record)
            if record.state is PodState.SYNCING:
                return delay
            self._stopping(record)
        if record.state is PodState.TERMINATING:
            await self._sync.terminate(record)
        self._sync.finish(record)
        if not record.wanted:
            del self._workers[record.uid]
            self._forgotten(record)
        return None


def concerns_worker(old: core.Pod, new: core.Pod) -> bool:
    """False for changes that the kubelet only takes note of: mostly the echo of its own status."""
    a, b = old.metadata, new.metadata
    if (
        a.HasField("deletionTimestamp") != b.HasField("deletionTimestamp")
        or a.deletionGracePeriodSeconds != b.deletionGracePeriodSeconds
        or a.labels != b.labels
        or a.annotations != b.annotations
    ):
        return True
    if new.spec.readinessGates and list(old.status.conditions) != list(new.status.conditions):
        return True
    return old.spec != new.spec
