"""Where Pods wait for a node.

    add ──> active (by priority, then age) ──pop──> being decided ──ok──> done
              ^                                        │ no node fits
              │ back-off over          ┌───────────────┴────────────────┐
            back-off (1 s, doubling to 10 s) <── something changed ── unschedulable
    gated: kept out until a PreEnqueue plugin lets the Pod in

A plugin that rejected a Pod says by queueing hints which events can help it; no other wakes it.
Events that come while a Pod is being decided or bound are kept until it is (`in_flight.py`).

Source: pkg/scheduler/backend/queue/{scheduling_queue,active_queue}.go.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Pod
from scheduler.framework.events import ANYTHING, ClusterEvent, Registration, own_event
from scheduler.framework.status import Code, Status
from scheduler.in_flight import InFlight
from scheduler.pod_info import PodInfo

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 10.0
UNSCHEDULABLE_MAX_S = 300.0
FLUSH_PERIOD_S = 30.0
SCHEDULING_GATES = "SchedulingGates"


@dataclass(slots=True, eq=False)
class QueuedPod:
    """A Pod on its way through the queue."""

    info: PodInfo
    queued_at: float
    attempts: int = 0
    unschedulable_plugins: frozenset[str] = frozenset()
    pending_plugins: frozenset[str] = frozenset()
    """Those of them that only wait for something: once they got it, there is no back-off."""
    failed_at: float = 0.0
    backoff_until: float = 0.0

    @property
    def uid(self) -> str:
        return self.info.uid


SortKey = Callable[[PodInfo, float], tuple[float, ...]]
PreEnqueue = Callable[[PodInfo], Status]
Interests = Callable[[PodInfo], Mapping[str, Sequence[Registration] | None]]
"""By plugin of the Pod's profile, which events can lift its rejections; None: any."""


def _no_hints(_pod: PodInfo) -> Mapping[str, Sequence[Registration] | None]:
    return {}


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
        interests: Interests = _no_hints,
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
        # By others than SchedulingGates, which only a change of the Pod itself can satisfy.
        self._gated: dict[str, QueuedPod] = {}
        # Where each Pod lies; an entry of a heap that does not stand here is stale.
        self._members: dict[str, QueuedPod] = {}
        self._place: dict[str, str] = {}
        self._interests = interests
        self._in_flight = InFlight()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._members)

    def add(self, pod: Pod) -> None:
        """A new Pod without a node."""
        self._enqueue(QueuedPod(PodInfo(pod), self._clock.monotonic()))

    def update(self, pod: Pod) -> None:
        """A changed Pod without a node. What it waited for may have changed with it."""
        uid = pod.metadata.uid
        if uid in self._in_flight:
            self.note_update(pod)
        elif (queued := self._members.get(uid)) is None:
            self.add(pod)
        else:
            old, queued.info = queued.info, PodInfo(pod)
            place = self._place[uid]
            if place == "gated":
                self._enqueue(queued)
            elif place == "unschedulable":
                self._consider(queued, own_event(old, queued.info))

    def note_update(self, pod: Pod) -> None:
        """A Pod in flight changed: should it come back, it comes back so. Others are no matter."""
        flight = self._in_flight.find(pod.metadata.uid)
        if flight is not None:
            old, flight.info = flight.info, PodInfo(pod)
            flight.own_events.append(own_event(old, flight.info))

    def delete(self, uid: str) -> None:
        self._in_flight.end(uid)
        self._remove(uid)

    def recheck(self, uid: str) -> None:
        """What gated the Pod may be over."""
        if self._place.get(uid) == "gated":
            self._enqueue(self._members[uid])

    def retry(self, uid: str) -> None:
        """What the Pod waits for will not come: another try, after its back-off."""
        flight, place = self._in_flight.find(uid), self._place.get(uid)
        if flight is not None:
            flight.own_events.append(ANYTHING)
        elif place == "unschedulable":
            self._to_backoff_or_active(self._members[uid])
        elif place == "gated":
            self._enqueue(self._members[uid])

    def knows(self, uid: str) -> PodInfo | None:
        """A waiting Pod; None for one that is being decided or is not here."""
        queued = self._members.get(uid)
        return queued.info if queued is not None else None

    def flush_unschedulable(self) -> None:
        """Those who have waited very long get another try, whatever has happened."""
        now = self._clock.monotonic()
        for queued in list(self._unschedulable.values()):
            if now - queued.failed_at > UNSCHEDULABLE_MAX_S:
                self._to_backoff_or_active(queued)

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
        self._in_flight.end(uid)

    def requeue(
        self, queued: QueuedPod, plugins: frozenset[str], pending: frozenset[str] = frozenset()
    ) -> bool:
        """No node for it now. `plugins` rejected it; none means that something failed.

        False: it is not wanted back, having been deleted (or bound) in the meantime.
        """
        flight = self._in_flight.find(queued.uid)
        if flight is None:
            return False
        since = self._in_flight.events_of(flight)
        self._in_flight.end(queued.uid)
        queued.info = flight.info
        queued.unschedulable_plugins, queued.pending_plugins = plugins | pending, pending
        queued.failed_at = self._clock.monotonic()
        self._put(queued, "unschedulable")
        self._unschedulable[queued.uid] = queued
        if not queued.unschedulable_plugins:
            self._to_backoff_or_active(queued)
        for event in since:
            if self._place[queued.uid] != "unschedulable":
                break
            self._consider(queued, event)
        return True

    def move(self, event: ClusterEvent, *, but: str = "") -> None:
        """Something in the cluster changed: those it may help get another try, `but` one uid."""
        self._in_flight.record(event)
        for queued in list(self._unschedulable.values()):
            if queued.uid != but:
                self._consider(queued, event)
        for queued in list(self._gated.values()):
            if queued.uid != but and self._may_help(queued, event):
                self._enqueue(queued)

    def flush_backoff(self) -> None:
        """Moves those whose back-off is over to the active queue."""
        now = self._clock.monotonic()
        while self._backoff and self._backoff[0][0] <= now:
            until, _, queued = heapq.heappop(self._backoff)
            if self._is_at(queued, "backoff") and queued.backoff_until == until:
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
        """To the active queue, from wherever it is, unless a plugin gates it."""
        status = self._pre_enqueue(queued.info)
        if status.code is not Code.SUCCESS:
            queued.unschedulable_plugins = frozenset((status.plugin,))
            self._put(queued, "gated")
            if status.plugin != SCHEDULING_GATES:
                self._gated[queued.uid] = queued
            return
        self._put(queued, "active")
        key = self._sort_key(queued.info, queued.queued_at)
        heapq.heappush(self._active, (key, next(self._order), queued))
        self._wake.set()

    def _to_backoff_or_active(self, queued: QueuedPod) -> None:
        until = queued.failed_at + self.backoff_s(queued.attempts)
        if until <= self._clock.monotonic():
            self._enqueue(queued)
            return
        queued.backoff_until = until
        self._put(queued, "backoff")
        heapq.heappush(self._backoff, (until, next(self._order), queued))
        self._wake.set()

    def _consider(self, queued: QueuedPod, event: ClusterEvent) -> None:
        """An unschedulable Pod gets another try when the event may help it."""
        if queued.pending_plugins and self._may_help(queued, event, queued.pending_plugins):
            self._enqueue(queued)
        elif self._may_help(queued, event):
            self._to_backoff_or_active(queued)

    def _may_help(
        self, queued: QueuedPod, event: ClusterEvent, plugins: frozenset[str] | None = None
    ) -> bool:
        if event.resource is None or not event.action:
            return event.resource is None
        interests = self._interests(queued.info)
        for plugin in queued.unschedulable_plugins if plugins is None else plugins:
            registrations = interests.get(plugin)
            if registrations is None or any(r.wants(queued.info, event) for r in registrations):
                return True
        return False

    def _put(self, queued: QueuedPod, place: str) -> None:
        self._remove(queued.uid)
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
            self._in_flight.start(queued.info)
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
