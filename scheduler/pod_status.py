"""Writes why a Pod is not scheduled, and its nomination, into the Pod's status.

Source: pkg/scheduler/schedule_one.go (handleSchedulingFailure, updatePod).
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.client.interface import Writer
from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import PodCondition
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
    def present(self) -> PodCondition | None:
        """The condition that the Pod has, when that says False too."""
        conditions = self.info.pod.status.conditions
        found = (c for c in conditions if c.type == "PodScheduled" and c.status == "False")
        return next(found, None)

    @property
    def is_known(self) -> bool:
        """The Pod's status says all of it already."""
        status, present = self.info.pod.status, self.present
        if self.nominated is not None and self.nominated != status.nominatedNodeName:
            return False
        return present is not None and (present.reason, present.message) == (
            self.reason,
            self.message,
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
        present = condition.present
        since = self._clock.now()
        if present is not None:  # another reason is no transition
            since = datetime.fromtimestamp(present.lastTransitionTime.seconds, UTC)
        status: dict[str, Any] = {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": condition.reason,
                    "message": condition.message,
                    "lastProbeTime": None,
                    "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
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
