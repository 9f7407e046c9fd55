"""Where Pods wait for a node.

    add ──> active (by priority, then age) ──pop──> being decided ──ok──> done
              ^                                        │ no node fits
              │ back-off over          ┌───────────────┴────────────────┐
            back-off (1 s, doubling to 10 s) <── something changed ── unschedulable
    gated: kept out until a PreEnqueue plugin lets the Pod in

A plugin that rejected a Pod says by queueing hints which events can help it; no other wakes it.
Events that come while a Pod is being decided are kept until it is: one of them may be the one it
needs.

Source: pkg/scheduler/backend/queue/{scheduling_queue,active_queue}.go.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from podpath.api import scheme
from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Pod
from scheduler.framework.events import Action, ClusterEvent, Registration
from scheduler.framework.status import Code, Status
from scheduler.pod_info import PodInfo

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
        self._gated: dict[str, QueuedPod] = {}
        # Where each Pod lies; an entry of a heap that does not stand here is stale.
        self._members: dict[str, QueuedPod] = {}
        self._place: dict[str, str] = {}
        self._interests = interests
        # Events since the oldest Pod in flight was popped, numbered; who was popped when.
        self._events: deque[tuple[int, ClusterEvent]] = deque()
        self._event_count = 0
        self._in_flight: dict[str, int] = {}
        self._updated: dict[str, PodInfo] = {}  # newer states of Pods in flight
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
            if uid in self._in_flight:
                info = self._updated[uid] = PodInfo(pod)
                self._remember(ClusterEvent(scheme.PODS, OWN_UPDATES, info, info))
            else:
                self.add(pod)
            return
        old, queued.info = queued.info, PodInfo(pod)
        place = self._place[uid]
        if place == "gated":
            self._remove(uid)
            self._enqueue(queued)
        elif place == "unschedulable":
            actions = own_changes(old, queued.info)
            event = ClusterEvent(scheme.PODS, actions, old, queued.info)
            if actions and self._may_help(queued, event):
                self._remove(uid)
                self._to_backoff_or_active(queued)

    def delete(self, uid: str) -> None:
        self._updated.pop(uid, None)
        self._leave(uid)
        self._remove(uid)

    def recheck(self, uid: str) -> None:
        """What gated the Pod may be over."""
        queued = self._gated.get(uid)
        if queued is not None:
            self._remove(uid)
            self._enqueue(queued)

    def knows(self, uid: str) -> PodInfo | None:
        """A waiting Pod; None for one that is being decided or is not here."""
        queued = self._members.get(uid)
        return queued.info if queued is not None else None

    def flush_unschedulable(self) -> None:
        """Those who have waited very long get another try, whatever has happened."""
        now = self._clock.monotonic()
        for queued in list(self._unschedulable.values()):
            if now - queued.failed_at > UNSCHEDULABLE_MAX_S:
                self._remove(queued.uid)
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
        self._updated.pop(uid, None)
        self._leave(uid)

    def requeue(self, queued: QueuedPod, plugins: frozenset[str]) -> None:
        """No node for it now. `plugins` rejected it; none means that something failed."""
        since = self._leave(queued.uid)
        if since is None or queued.uid in self._members:
            return  # deleted, or added anew, while it was being decided
        queued.info = self._updated.pop(queued.uid, queued.info)
        queued.unschedulable_plugins = plugins
        queued.failed_at = self._clock.monotonic()
        if not plugins or any(self._may_help(queued, event) for event in since):
            self._to_backoff_or_active(queued)
        else:
            self._put(queued, "unschedulable")
            self._unschedulable[queued.uid] = queued

    def move(self, event: ClusterEvent) -> None:
        """Something in the cluster changed: those it may help get another try."""
        self._remember(event)
        if not self._unschedulable:
            return
        for queued in [q for q in self._unschedulable.values() if self._may_help(q, event)]:
            self._remove(queued.uid)
            self._to_backoff_or_active(queued)

    def flush_backoff(self) -> None:
        """Moves those whose back-off is over to the active queue."""
        now = self._clock.monotonic()
        while self._backoff and self._backoff[0][0] <= now:
            until, _, queued = heapq.heappop(self._backoff)
            if self._is_at(queued, "backoff") and queued.backoff_until == until:
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

    def _to_backoff_or_active(self, queued: QueuedPod) -> None:
        until = queued.failed_at + self.backoff_s(queued.attempts)
        if until <= self._clock.monotonic():
            self._enqueue(queued)
            return
        queued.backoff_until = until
        self._put(queued, "backoff")
        heapq.heappush(self._backoff, (until, next(self._order), queued))
        self._wake.set()

    def _may_help(self, queued: QueuedPod, event: ClusterEvent) -> bool:
        interests = self._interests(queued.info)
        for plugin in queued.unschedulable_plugins:
            registrations = interests.get(plugin)
            if registrations is None or any(r.wants(queued.info, event) for r in registrations):
                return True
        return False

    def _remember(self, event: ClusterEvent) -> None:
        if self._in_flight:
            self._event_count += 1
            self._events.append((self._event_count, event))

    def _leave(self, uid: str) -> list[ClusterEvent] | None:
        """Ends the Pod's flight; the events since its start. None: it was not in flight."""
        start = self._in_flight.pop(uid, None)
        if start is None:
            return None
        if self._events and self._events[-1][0] > start:
            since = [event for number, event in self._events if number > start]
        else:
            since = []
        # Flights are in the order of their starts, so the first has the oldest claim.
        oldest = next(iter(self._in_flight.values()), self._event_count)
        while self._events and self._events[0][0] <= oldest:
            self._events.popleft()
        return since

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
            self._in_flight[queued.uid] = self._event_count
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


OWN_UPDATES = (
    Action.POD_LABELS
    | Action.POD_TOLERATIONS
    | Action.POD_SCALE_DOWN
    | Action.POD_GATES_ELIMINATED
    | Action.OTHER_UPDATE
)


def own_changes(old: PodInfo, new: PodInfo) -> Action:
    """What of an unscheduled Pod changed that scheduling looks at."""
    found = Action.NONE
    before, after = old.pod.spec, new.pod.spec
    if old.labels != new.labels:
        found |= Action.POD_LABELS
    if list(before.tolerations) != list(after.tolerations):
        found |= Action.POD_TOLERATIONS
    if old.request != new.request:
        found |= Action.POD_SCALE_DOWN
    if before.schedulingGates and not after.schedulingGates:
        found |= Action.POD_GATES_ELIMINATED
    if not found and before != after:
        found |= Action.OTHER_UPDATE
    return found
