"""Writes why a Pod is not scheduled, and its nomination, into the Pod's status.

Source: pkg/scheduler/schedule_one.go (handleSchedulingFailure, updatePod).
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import orjson

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.client.interface import Writer
from podpath.component_base.clock import Clock
from scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)

WAITING_MAX = 10_000
WRITES_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class Condition:
    """What PodScheduled is to say. `nominated` None leaves status.nominatedNodeName as it is."""

    info: PodInfo
    reason: str
    message: str
    nominated: str | None = None

    @property
    def is_known(self) -> bool:
        """The Pod's status says all of it already."""
        status = self.info.pod.status
        if self.nominated is not None and self.nominated != status.nominatedNodeName:
            return False
        return any(
            c.type == "PodScheduled"
            and c.status == "False"
            and c.reason == self.reason
            and c.message == self.message
            for c in status.conditions
        )


class StatusWriter:
    """`submit` queues, the newest of a Pod only; `run` writes."""

    def __init__(self, client: Writer, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._waiting: dict[str, tuple[PodInfo, dict[str, Any]]] = {}
        self._wake = asyncio.Event()

    def submit(self, condition: Condition) -> None:
        if condition.is_known:
            self._waiting.pop(condition.info.uid, None)
            return
        status: dict[str, Any] = {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": condition.reason,
                    "message": condition.message,
                    "lastProbeTime": None,
                    "lastTransitionTime": self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            ]
        }
        if condition.nominated is not None:
            status["nominatedNodeName"] = condition.nominated or None
        self._put(condition.info, status)

    def clear_nomination(self, info: PodInfo) -> None:
        self._put(info, {"nominatedNodeName": None})

    def _put(self, info: PodInfo, status: dict[str, Any]) -> None:
        if info.uid not in self._waiting and len(self._waiting) >= WAITING_MAX:
            log.warning("condition not written: too many are waiting")
            return
        earlier = self._waiting.get(info.uid)
        self._waiting[info.uid] = (info, {**(earlier[1] if earlier else {}), **status})
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITES_IN_FLIGHT):
                tasks.create_task(self._write_forever(), name="conditions")

    async def _write_forever(self) -> None:
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            uid = next(iter(self._waiting))
            info, status = self._waiting.pop(uid)
            namespace, name = info.key
            patch = orjson.dumps({"metadata": {"uid": uid}, "status": status})
            try:
                await self._client.patch(scheme.PODS, namespace, name, patch, subresource="status")
            except ApiError as error:
                log.info("condition not written", extra={"pod": name, "error": str(error)})
