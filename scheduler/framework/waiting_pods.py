"""Assumed Pods that Permit plugins hold back.

Source: pkg/scheduler/framework/runtime/waiting_pods_map.go.
"""

import asyncio

from scheduler.framework.status import SUCCESS, Code, Status

PERMIT_TIMEOUT_S = 15 * 60.0


class WaitingPods:
    """Assumed Pods whose binding waits for Permit plugins to allow (or reject) it."""

    def __init__(self) -> None:
        self._pending: dict[str, set[str]] = {}
        self._verdicts: dict[str, asyncio.Future[Status]] = {}

    def __contains__(self, uid: str) -> bool:
        return uid in self._pending

    def add(self, uid: str, plugins: set[str]) -> None:
        self._pending[uid] = plugins
        self._verdicts[uid] = asyncio.get_running_loop().create_future()

    def allow(self, uid: str, plugin: str) -> None:
        """The Pod goes on once all plugins that made it wait have allowed it."""
        pending = self._pending.get(uid)
        if pending is not None:
            pending.discard(plugin)
            if not pending:
                self._settle(uid, SUCCESS)

    def reject(self, uid: str, plugin: str, reason: str) -> None:
        if uid in self._pending:
            self._settle(uid, Status(Code.UNSCHEDULABLE, (reason,), plugin))

    async def wait(self, uid: str) -> Status:
        """The verdict; a rejection when none comes within 15 minutes."""
        verdict = self._verdicts.get(uid)
        if verdict is None:
            return SUCCESS
        try:
            async with asyncio.timeout(PERMIT_TIMEOUT_S):
                return await asyncio.shield(verdict)
        except TimeoutError:
            plugin = min(self._pending[uid], default="")
            reason = (
                f"rejected due to timeout after waiting {PERMIT_TIMEOUT_S:.0f}s at plugin {plugin}"
            )
            return Status(Code.UNSCHEDULABLE, (reason,), plugin)
        finally:
            self._pending.pop(uid, None)
            self._verdicts.pop(uid, None)

    def _settle(self, uid: str, status: Status) -> None:
        verdict = self._verdicts[uid]
        if not verdict.done():
            verdict.set_result(status)
