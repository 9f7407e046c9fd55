"""What the kubelet knows of one Pod between two rounds of its worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from kubelet.container_statuses import StartFailure
from kubelet.pod_admission import Resident, resident
from kubelet.pod_status import Verdict
from kubelet.runtime_status import CREATED, EXITED, RuntimePodStatus
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core


class Interrupted(Exception):
    """The round ends early, because the Pod is to be stopped now."""


class PodState(Enum):
    """Only ever moves down.

    SYNCING      the runtime is made to match the spec
       │ deleted, rejected, evicted, or all containers ended for good
    TERMINATING  containers and sandbox are stopped
       │ nothing runs any more
    TERMINATED   resources are freed; the Pod leaves when the API server forgets it
    """

    SYNCING = 1
    TERMINATING = 2
    TERMINATED = 3


class Expect(Enum):
    """What a call of ours must have led to, before the records count as up to date."""

    STARTED = 1
    STOPPED = 2


@dataclass(slots=True, eq=False)
class PodRecord:
    """`pod` is the newest object seen, shared with the informer: read-only."""

    pod: core.Pod
    state: PodState = PodState.SYNCING
    admitted: bool = False
    # False once the API server has no such Pod any more.
    wanted: bool = True
    # True once its last status is told: what the runtime forgets later changes nothing.
    final: bool = False
    # False until a status of this kubelet's making exists.
    reported: bool = False
    # True after a call failed: it may have had its effect all the same.
    uncertain: bool = False
    # Since when the runtime's events about our own calls are awaited; None: they are not.
    awaiting_since: float | None = None
    verdict: Verdict | None = None
    grace_s: int | None = None
    # Why containers did not start, by name; termination messages, by container id.
    failures: dict[str, StartFailure] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    expected: dict[str, Expect] = field(default_factory=dict)
    paths: Mapping[str, str] | None = None
    paths_at: float = 0.0
    # While > 0 a call to the runtime must not be cut in the middle.
    critical: int = 0
    interrupted: bool = False

    _resident: Resident | None = None

    @property
    def resident(self) -> Resident:
        """What the Pod asks of the node; it does not change while the Pod is here."""
        if self._resident is None:
            self._resident = resident(self.pod)
        return self._resident

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid

    def settled(self, status: RuntimePodStatus) -> bool:
        """Whether `status` shows the effects of our own calls; forgets those that it shows."""
        if not self.expected:
            return True
        sandboxes = {s.id: s for s in status.sandboxes}
        containers = {c.id: c for c in status.containers}
        for id_, expect in list(self.expected.items()):
            container, sandbox = containers.get(id_), sandboxes.get(id_)
            if expect is Expect.STARTED:
                shown = sandbox is not None or (
                    container is not None and container.state != CREATED
                )
            else:
                shown = (container is None or container.state == EXITED) and (
                    sandbox is None or sandbox.state == cri.SANDBOX_NOTREADY
                )
            if shown:
                del self.expected[id_]
        return not self.expected
