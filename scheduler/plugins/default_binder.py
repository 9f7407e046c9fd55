"""The Bind plugin of every ordinary profile: it hands the Pod to the batching binder.

Source: pkg/scheduler/framework/plugins/defaultbinder/default_binder.go.
"""

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SKIP, Status
from scheduler.pod_info import PodInfo


class DefaultBinder:
    """`bind` answers SKIP: `scheduler/binder.py` sends what no other plugin bound, in batches."""

    name = "DefaultBinder"

    async def bind(self, _state: CycleState, _pod: PodInfo, _node_name: str) -> Status:
        return SKIP
