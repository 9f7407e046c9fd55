"""A Pod got no node: where it waits now, and what its owner is told.

Source: pkg/scheduler/schedule_one.go (handleSchedulingFailure).
"""

from podpath.api import scheme
from podpath.client.event_recorder import WARNING, EventRecorder
from scheduler.framework.status import FitError, Status
from scheduler.nominator import Nominator
from scheduler.pod_status import Condition, StatusWriter
from scheduler.queue import QueuedPod, SchedulingQueue

UNSCHEDULABLE = "Unschedulable"
ERROR = "SchedulerError"
NOTE_LENGTH_MAX = 1024
_CUT = " ..."


class FailureHandler:
    """Synchronous: Events and conditions are only queued here."""

    def __init__(
        self,
        queue: SchedulingQueue,
        nominator: Nominator,
        recorder: EventRecorder,
        status: StatusWriter,
    ) -> None:
        self._queue = queue
        self._nominator = nominator
        self._recorder = recorder
        self._status = status

    def failed(self, queued: QueuedPod, why: FitError | Status, nominated: str | None = "") -> None:
        """`why`: no node fits, or something did not work. `nominated`: the node that the Pod has a
        claim to from now on; "" takes its claim away, None leaves it as it is."""
        if isinstance(why, FitError):
            reason, message = UNSCHEDULABLE, str(why)
            wanted = self._queue.requeue(queued, why.plugins, why.pending_plugins)
        else:
            reason, message = ERROR, why.message
            wanted = self._queue.requeue(queued, frozenset())
        if not wanted:
            return  # deleted, or bound by somebody else, while it was being decided
        self._nominate(queued, nominated)
        pod = queued.info.pod
        self._recorder.event(
            scheme.PODS,
            pod,
            WARNING,
            "FailedScheduling",
            shortened(message),
            component=pod.spec.schedulerName,
        )
        self._status.submit(Condition(queued.info, reason, message, nominated))

    def _nominate(self, queued: QueuedPod, node_name: str | None) -> None:
        """Pods of lower priority lose their claims to a node that this one gets."""
        if node_name is None:
            node_name = queued.info.pod.status.nominatedNodeName
        elif node_name:
            for rival in self._nominator.for_node(node_name):
                if rival.priority < queued.info.priority:
                    self._nominator.remove(rival.uid)
                    self._status.clear_nomination(rival)
        if node_name:
            self._nominator.add(queued.info, node_name)
        else:
            self._nominator.remove(queued.uid)


def shortened(message: str) -> str:
    """As much of it as an Event holds."""
    if len(message) <= NOTE_LENGTH_MAX:
        return message
    return message[: NOTE_LENGTH_MAX - len(_CUT)] + _CUT
