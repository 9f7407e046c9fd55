"""Assumed Pods that Permit plugins hold back.

Source: pkg/scheduler/framework/runtime/waiting_pods_map.go.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podpath.component_base import durations
from scheduler.framework.status import SUCCESS, Status, unschedulable
from scheduler.pod_info import PodInfo

PERMIT_TIMEOUT_MAX_S = 15 * 60.0


@dataclass(slots=True)
class _Waiting:
    pod: PodInfo
    pending: dict[str, tuple[float, float]]  # plugin -> when its patience ends, how long it was
    verdict: asyncio.Future[Status]


class WaitingPods:
    """Pods whose binding waits until all plugins that hold it back allow it, or one rejects it."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def __contains__(self, uid: object) -> bool:
        return uid in self._waiting

    def list(self) -> Sequence[PodInfo]:
        return [waiting.pod for waiting in self._waiting.values()]

    def add(self, pod: PodInfo, timeouts_s: Mapping[str, float]) -> None:
        """`timeouts_s`: by plugin, after how long it rejects the Pod."""
        loop = asyncio.get_running_loop()
        limited = {name: min(t, PERMIT_TIMEOUT_MAX_S) for name, t in timeouts_s.items()}
        pending = {name: (loop.time() + t, t) for name, t in limited.items()}
        self._waiting[pod.uid] = _Waiting(pod, pending, loop.create_future())

    def allow(self, uid: str, plugin: str) -> None:
        waiting = self._waiting.get(uid)
        if waiting is not None:
            waiting.pending.pop(plugin, None)
            if not waiting.pending:
                _settle(waiting, SUCCESS)

    def reject(self, uid: str, plugin: str, reason: str) -> bool:
        """Ends the wait; False when the Pod does not wait."""
        waiting = self._waiting.get(uid)
        if waiting is None:
            return False
        _settle(waiting, unschedulable(plugin, reason))
        return True

    async def wait(self, uid: str) -> Status:
        """The verdict; SUCCESS for a Pod that nobody holds back."""
        waiting = self._waiting.get(uid)
        if waiting is None:
            return SUCCESS
        try:
            while not waiting.verdict.done():
                plugin, (until, patience_s) = min(waiting.pending.items(), key=lambda p: p[1])
                try:
                    async with asyncio.timeout_at(until):
                        await asyncio.shield(waiting.verdict)
                except TimeoutError:
                    if plugin in waiting.pending:
                        waited = durations.of_seconds(patience_s)
                        why = f"rejected due to timeout after waiting {waited} at plugin {plugin}"
                        self.reject(uid, plugin, why)
            return waiting.verdict.result()
        finally:
            del self._waiting[uid]


def _settle(waiting: _Waiting, status: Status) -> None:
    if not waiting.verdict.done():
        waiting.verdict.set_result(status)
