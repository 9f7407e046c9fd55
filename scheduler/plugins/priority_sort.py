"""Higher priority first, then who has waited longer.

Source: pkg/scheduler/framework/plugins/queuesort/priority_sort.go.
"""

from scheduler.pod_info import PodInfo


class PrioritySort:
    name = "PrioritySort"

    def sort_key(self, pod: PodInfo, queued_at: float) -> tuple[float, ...]:
        return (-pod.priority, queued_at)
