"""Keeps a Pod out of the queue until its `spec.schedulingGates` are gone.

Source: pkg/scheduler/framework/plugins/schedulinggates/scheduling_gates.go.
"""

from collections.abc import Sequence

from podpath.api import scheme
from scheduler.framework.events import Action, Registration
from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.pod_info import PodInfo


class SchedulingGates:
    name = "SchedulingGates"

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(
                scheme.PODS,
                Action.POD_GATES_ELIMINATED,
                lambda pod, _old, new: new is not None and new.uid == pod.uid,
            ),
        )

    def pre_enqueue(self, pod: PodInfo) -> Status:
        gates = [gate.name for gate in pod.pod.spec.schedulingGates]
        if not gates:
            return SUCCESS
        return unresolvable(self.name, f"waiting for scheduling gates: [{' '.join(gates)}]")
