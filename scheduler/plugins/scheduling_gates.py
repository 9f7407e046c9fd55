"""Keeps a Pod out of the queue until its `spec.schedulingGates` are gone.

Source: pkg/scheduler/framework/plugins/schedulinggates/scheduling_gates.go.
"""

from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.node_info import PodInfo


class SchedulingGates:
    name = "SchedulingGates"

    def pre_enqueue(self, pod: PodInfo) -> Status:
        gates = [gate.name for gate in pod.pod.spec.schedulingGates]
        if not gates:
            return SUCCESS
        return unresolvable(self.name, f"waiting for scheduling gates: [{' '.join(gates)}]")
