"""Pods that are being decided or bound, and what happened in the cluster since each was popped.

An event that comes while a Pod is in flight may be the one that it needs: when the Pod gets no
node, these events are looked at before it is laid aside.

Source: pkg/scheduler/backend/queue/active_queue.go (inFlightPods, inFlightEvents).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from scheduler.framework.events import ClusterEvent
from scheduler.pod_info import PodInfo


@dataclass(slots=True)
class Flight:
    """One Pod: which event it was popped after, its newest state, what concerns it alone."""

    after: int
    info: PodInfo
    own_events: list[ClusterEvent] = field(default_factory=list)


class InFlight:
    """Events are numbered; those that came before the oldest flight are dropped."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}  # by uid, in the order of their starts
        self._events: deque[ClusterEvent] = deque()
        self._last = 0  # number of the newest event

    def __contains__(self, uid: object) -> bool:
        return uid in self._flights

    @property
    def event_count(self) -> int:
        """How many events are held."""
        return len(self._events)

    def start(self, info: PodInfo) -> None:
        self._flights[info.uid] = Flight(self._last, info)

    def find(self, uid: str) -> Flight | None:
        return self._flights.get(uid)

    def record(self, event: ClusterEvent) -> None:
        """Something happened that may concern any Pod in flight."""
        if self._flights:
            self._last += 1
            self._events.append(event)

    def events_of(self, flight: Flight) -> Sequence[ClusterEvent]:
        """Those since its start, in their order, then its own. Ask before `end`."""
        skipped = len(self._events) - (self._last - flight.after)
        return [*islice(self._events, skipped, None), *flight.own_events]

    def end(self, uid: str) -> None:
        """Nothing happens for a Pod that is not in flight."""
        if self._flights.pop(uid, None) is None:
            return
        oldest = next(iter(self._flights.values()), None)
        needed = self._last - oldest.after if oldest is not None else 0
        while len(self._events) > needed:
            self._events.popleft()
