"""What a profile's plugins do with a Pod that was given a node: Reserve to PostBind.

    Reserve, Permit | wait on Permit, PreBind, Bind, PostBind

The left part belongs to the scheduling cycle and is synchronous, the right one to the binding
cycle.

Source: pkg/scheduler/framework/runtime/framework.go.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from scheduler.framework import interface
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SUCCESS, Code, Status, failed
from scheduler.framework.waiting_pods import WaitingPods
from scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)

DEFAULT_BINDER = "DefaultBinder"


def told_by(plugin: interface.Plugin, point: str, status: Status) -> Status:
    """A plugin's verdict with its name in it; a failure says at which point it happened."""
    if status.is_rejection:
        return status if status.plugin else replace(status, plugin=plugin.name)
    return failed(plugin.name, f'running {point} plugin "{plugin.name}": {status.message}')


class BindingStages:
    """The plugins of these extension points, in the profile's order."""

    def __init__(
        self,
        *,
        reserve: Sequence[interface.ReservePlugin],
        permit: Sequence[interface.PermitPlugin],
        pre_bind: Sequence[interface.PreBindPlugin],
        bind: Sequence[interface.BindPlugin],
        post_bind: Sequence[interface.PostBindPlugin],
        waiting: WaitingPods,
    ) -> None:
        self.reserve_plugins = reserve
        self.permit_plugins = permit
        self._pre_bind = pre_bind
        self._bind = bind
        self._post_bind = post_bind
        self._waiting = waiting

    def reserve(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        """Whoever gets anything but SUCCESS calls `unreserve`."""
        for plugin in self.reserve_plugins:
            status = plugin.reserve(state, pod, node_name)
            if status.code is not Code.SUCCESS:
                return told_by(plugin, "Reserve", status)
        return SUCCESS

    def unreserve(self, state: CycleState, pod: PodInfo, node_name: str) -> None:
        for plugin in reversed(self.reserve_plugins):
            plugin.unreserve(state, pod, node_name)

    def permit(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        """WAIT when plugins want the Pod's binding to wait until they allow it."""
        timeouts_s: dict[str, float] = {}
        for plugin in self.permit_plugins:
            status, timeout_s = plugin.permit(state, pod, node_name)
            if status.code is Code.WAIT:
                timeouts_s[plugin.name] = timeout_s
            elif status.code is not Code.SUCCESS:
                return told_by(plugin, "Permit", status)
        if timeouts_s:
            self._waiting.add(pod, timeouts_s)
            return Status(Code.WAIT)
        return SUCCESS

    def has_work(self, state: CycleState, pod: PodInfo, node_name: str) -> bool:
        """Whether anything comes between the decision and the Bind call."""
        if pod.uid in self._waiting or any(p.name != DEFAULT_BINDER for p in self._bind):
            return True
        return any(
            needs(state, node_name) if (needs := getattr(p, "needs_pre_bind", None)) else True
            for p in self._pre_bind
        )

    async def wait_on_permit(self, pod: PodInfo) -> Status:
        return await self._waiting.wait(pod.uid)

    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        for plugin in self._pre_bind:
            status = await plugin.pre_bind(state, pod, node_name)
            if status.code not in (Code.SUCCESS, Code.SKIP):
                return told_by(plugin, "PreBind", status)
        return SUCCESS

    async def bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        """Extenders and third parties' Bind plugins; SKIP when none of them bound the Pod."""
        for plugin in self._bind:
            status = await plugin.bind(state, pod, node_name)
            if status.code is Code.SUCCESS:
                return status
            if status.code is not Code.SKIP:
                return told_by(plugin, "Bind", status)
        return Status(Code.SKIP)

    def post_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> None:
        for plugin in self._post_bind:
            try:
                plugin.post_bind(state, pod, node_name)
            except Exception:  # the Pod is bound, whatever goes wrong now
                log.exception("a plugin has a fault", extra={"pod": pod.key})
