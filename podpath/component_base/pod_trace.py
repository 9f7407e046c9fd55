"""The 18 steps of a Pod's creation, stamped by whoever takes them.

Each process keeps its last stamps in a bounded ring (a stamp costs under 2 us: no lock, no
formatting, no I/O) and serves them; `podpath trace POD` gathers the rings of all processes.
`grep -rn 'PodStep\\.'` prints the path through the code.

A Pod whose creation is sampled carries its trace context in an annotation; stamps of such Pods
are also handed to the exporter, which makes spans of them (`podpath/component_base/tracing.py`).
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from podpath.component_base.traceparent import TRACEPARENT_ANNOTATION

NO_CONTEXT: Mapping[str, str] = MappingProxyType({})


class PodStep(Enum):
    """A step of the path: (number as in ARCHITECTURE.md, what happened)."""

    REQUEST_RECEIVED = ("1", "the client's request arrives")
    AUTHORIZED = ("2", "authenticated and authorized")
    ADMITTED = ("3", "admission mutated and approved")
    VALIDATED = ("4", "the object is valid")
    STORE = ("5", "sent to etcd")
    STORED = ("6", "etcd confirmed")
    RESPONDED = ("7", "the response leaves")
    SCHEDULER_SAW = ("8", "the scheduler sees an unscheduled Pod")
    FILTERED = ("9a", "nodes filtered")
    SCORED = ("9b", "nodes scored, one chosen")
    BIND = ("10", "the binding is sent")
    BOUND = ("11", "etcd holds the assignment")
    KUBELET_SAW = ("12", "the kubelet sees its Pod")
    VOLUMES_READY = ("13", "directories and volumes are ready")
    CRI_REQUEST = ("14", "the kubelet asks the runtime")
    CONTAINER_STARTED = ("15", "the sandbox and containers were made")
    RUNTIME_SEEN = ("16", "the kubelet sees them run")
    STATUS_RUNNING = ("17", "status Running is stored")
    RECONCILED = ("18", "a controller saw the running Pod")

    def __init__(self, number: str, meaning: str) -> None:
        self.number = number
        self.meaning = meaning


@dataclass(frozen=True, slots=True)
class Stamp:
    """One record of the ring. `at_ns` is Unix time in nanoseconds: it crosses processes."""

    step: PodStep
    uid: str
    at_ns: int
    decision: str
    traceparent: str = ""


# What a Stamp is made of; making one of each would take longer than all else about it.
Record = tuple[PodStep, str, int, str]


class TraceRing:
    """The last `capacity` stamps of this process, oldest first."""

    def __init__(self, capacity: int = 65536) -> None:
        self._records: deque[Record] = deque(maxlen=capacity)
        self.on_sampled: Callable[[Record, str], None] | None = None
        """Told of each stamp of a sampled Pod as it is made, with the Pod's traceparent; has to be
        quick."""

    def stamp(
        self,
        step: PodStep,
        uid: str,
        decision: str = "",
        annotations: Mapping[str, str] = NO_CONTEXT,
    ) -> None:
        """Records that the Pod `uid` took `step` now. `decision` is a short word or phrase;
        `annotations` are the Pod's, or its sandbox's, in which its trace context is looked up."""
        record = (step, uid, time.time_ns(), decision)
        self._records.append(record)
        if self.on_sampled is not None and (traceparent := annotations.get(TRACEPARENT_ANNOTATION)):
            self.on_sampled(record, traceparent)

    def of(self, uid: str) -> list[Stamp]:
        """The stamps of one Pod, oldest first."""
        return [Stamp(*record) for record in tuple(self._records) if record[1] == uid]


ring = TraceRing()
"""This process' ring: the one global, because every stage of the path writes to it."""

stamp = ring.stamp
