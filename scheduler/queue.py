"""Where Pods wait for a node.

    add ──> active (by priority, then age) ──pop──> being decided ──ok──> done
              ^                                        │ no node fits
              │ back-off over          ┌───────────────┴────────────────┐
            back-off (1 s, doubling to 10 s) <── something changed ── unschedulable
    gated: kept out until a PreEnqueue plugin lets the Pod in

A Pod found unschedulable while something relevant changed goes to back-off, not to unschedulable:
the change may be the one it needs.

Source: pkg/scheduler/backend/queue/scheduling_queue.go.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Pod
from scheduler.framework.status import Code, Status
from scheduler.node_info import PodInfo

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 10.0
UNSCHEDULABLE_MAX_S = 300.0
FLUSH_PERIOD_S = 30.0


@dataclass(slots=True, eq=False)
class QueuedPod:
    """A Pod on its way through the queue."""

    info: PodInfo
    queued_at: float
    attempts: int = 0
    unschedulable_plugins: frozenset[str] = field(default_factory=frozenset)
    parked_at: float = 0.0

    @property
    def uid(self) -> str:
        return self.info.uid


SortKey = Callable[[PodInfo, float], tuple[float, ...]]
PreEnqueue = Callable[[PodInfo], Status]


class SchedulingQueue:
    """Every method but `pop` is synchronous and keeps all parts consistent."""

    def __init__(
        self,
        clock: Clock,
        sort_key: SortKey,
        pre_enqueue: PreEnqueue,
        *,
        backoff_first_s: float = BACKOFF_FIRST_S,
        backoff_max_s: float = BACKOFF_MAX_S,
    ) -> None:
        self._clock = clock
        self._sort_key = sort_key
        self._pre_enqueue = pre_enqueue
        self._backoff_first_s = backoff_first_s
        self._backoff_max_s = backoff_max_s
        self._order = itertools.count()
        self._active: list[tuple[tuple[float, ...], int, QueuedPod]] = []
        self._backoff: list[tuple[float, int, QueuedPod]] = []
        self._unschedulable: dict[str, QueuedPod] = {}
        self._gated: dict[str, QueuedPod] = {}
        # Where each Pod lies; an entry of a heap that does not stand here is stale.
        self._members: dict[str, QueuedPod] = {}
        self._place: dict[str, str] = {}
        self._moves = 0
        self._in_flight: dict[str, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._members)

    def add(self, pod: Pod) -> None:
        """A new Pod without a node."""
        self._enqueue(QueuedPod(PodInfo(pod), self._clock.monotonic()))

    def update(self, pod: Pod) -> None:
        """A changed Pod without a node. What it waited for may have changed with it."""
        uid = pod.metadata.uid
        queued = self._members.get(uid)
        if queued is None:
            if uid not in self._in_flight:
                self.add(pod)
            return
        spec_changed = queued.info.pod.spec != pod.spec or (
            queued.info.pod.metadata.labels != pod.metadata.labels
        )
        queued.info = PodInfo(pod)
        place = self._place[uid]
        if place == "gated" or (place == "unschedulable" and spec_changed):
            self._remove(uid)
            self._enqueue(queued)

    def delete(self, uid: str) -> None:
        self._in_flight.pop(uid, None)
        self._remove(uid)

    async def pop(self, limit: int) -> list[QueuedPod]:
        """The next Pods, at most `limit`; waits until there is one."""
        while True:
            self.flush_backoff()
            ready = self._take(limit)
            if ready:
                return ready
            self._wake.clear()
            await self._wait()

    def done(self, uid: str) -> None:
        """The Pod's decision was carried out: forget it."""
        self._in_flight.pop(uid, None)

    def requeue(self, queued: QueuedPod, plugins: frozenset[str]) -> None:
        """No node for it now. `plugins` rejected it; none means that something failed."""
        moves = self._in_flight.pop(queued.uid, None)
        if moves is None or queued.uid in self._members:
            return  # deleted, or added anew, while it was being decided
        queued.unschedulable_plugins = plugins
        if not plugins or moves != self._moves:
            self._to_backoff(queued)
        else:
            queued.parked_at = self._clock.monotonic()
            self._put(queued, "unschedulable")
            self._unschedulable[queued.uid] = queued

    def move_all(self, may_help: Callable[[QueuedPod], bool]) -> None:
        """Something in the cluster changed: those it may help get another try."""
        self._moves += 1
        for queued in [q for q in self._unschedulable.values() if may_help(q)]:
            self._remove(queued.uid)
            self._to_backoff(queued)

    def flush_unschedulable(self) -> None:
        """Gives Pods that have waited for five minutes another try, should an event be lost."""
        limit = self._clock.monotonic() - UNSCHEDULABLE_MAX_S
        for queued in [q for q in self._unschedulable.values() if q.parked_at < limit]:
            self._remove(queued.uid)
            self._to_backoff(queued)

    def flush_backoff(self) -> None:
        """Moves those whose back-off is over to the active queue."""
        now = self._clock.monotonic()
        while self._backoff and self._backoff[0][0] <= now:
            _, _, queued = heapq.heappop(self._backoff)
            if self._is_at(queued, "backoff"):
                self._remove(queued.uid)
                self._enqueue(queued)

    def backoff_s(self, attempts: int) -> float:
        """How long a Pod waits after so many attempts."""
        return min(self._backoff_first_s * 2.0 ** max(attempts - 1, 0), self._backoff_max_s)

    def counts(self) -> dict[str, int]:
        """How many Pods are where, for metrics."""
        found = dict.fromkeys(("active", "backoff", "unschedulable", "gated"), 0)
        for place in self._place.values():
            found[place] += 1
        return found

    def _enqueue(self, queued: QueuedPod) -> None:
        self._remove(queued.uid)
        if self._pre_enqueue(queued.info).code is not Code.SUCCESS:
            self._put(queued, "gated")
            self._gated[queued.uid] = queued
            return
        self._put(queued, "active")
        key = self._sort_key(queued.info, queued.queued_at)
        heapq.heappush(self._active, (key, next(self._order), queued))
        self._wake.set()

    def _to_backoff(self, queued: QueuedPod) -> None:
        until = self._clock.monotonic() + self.backoff_s(queued.attempts)
        self._put(queued, "backoff")
        heapq.heappush(self._backoff, (until, next(self._order), queued))
        self._wake.set()

    def _put(self, queued: QueuedPod, place: str) -> None:
        self._members[queued.uid] = queued
        self._place[queued.uid] = place

    def _remove(self, uid: str) -> None:
        self._members.pop(uid, None)
        self._place.pop(uid, None)
        self._unschedulable.pop(uid, None)
        self._gated.pop(uid, None)

    def _is_at(self, queued: QueuedPod, place: str) -> bool:
        return self._members.get(queued.uid) is queued and self._place[queued.uid] == place

    def _take(self, limit: int) -> list[QueuedPod]:
        taken: list[QueuedPod] = []
        while self._active and len(taken) < limit:
            _, _, queued = heapq.heappop(self._active)
            if not self._is_at(queued, "active"):
                continue
            self._remove(queued.uid)
            queued.attempts += 1
            self._in_flight[queued.uid] = self._moves
            taken.append(queued)
        return taken

    async def _wait(self) -> None:
        """Until something was added, or the next back-off is over."""
        if not self._backoff:
            await self._wake.wait()
            return
        remaining = self._backoff[0][0] - self._clock.monotonic()
        sleeper = asyncio.ensure_future(self._clock.sleep(max(remaining, 0.0)))
        waker = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((sleeper, waker), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            waker.cancel()
