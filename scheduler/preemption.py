"""Carries out what PostFilter decided: victims are told and evicted, nominations recorded.

Source: pkg/scheduler/framework/preemption/preemption.go (prepareCandidateAsync, PreemptPod).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

import orjson

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.client.event_recorder import NORMAL, EventRecorder
from podpath.client.interface import Writer
from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions, Preconditions
from scheduler.framework.waiting_pods import WaitingPods
from scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)

EVICTIONS_IN_FLIGHT = 16
PREEMPTION = "DefaultPreemption"


class Evictor:
    """`submit` queues a preemption; `run` carries them out."""

    def __init__(
        self,
        client: Writer,
        clock: Clock,
        recorder: EventRecorder,
        waiting: WaitingPods,
        finished: Callable[[PodInfo, bool], None],
    ) -> None:
        """`finished` is called when all victims of a Pod were asked to go, with False when some
        could not be asked."""
        self._client = client
        self._clock = clock
        self._recorder = recorder
        self._waiting = waiting
        self._finished = finished
        self._work: asyncio.Queue[tuple[PodInfo, str, Sequence[PodInfo]]] = asyncio.Queue()

    def submit(self, preemptor: PodInfo, node_name: str, victims: Sequence[PodInfo]) -> None:
        self._work.put_nowait((preemptor, node_name, victims))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(EVICTIONS_IN_FLIGHT):
                tasks.create_task(self._evict_forever(), name="evictor")

    async def _evict_forever(self) -> None:
        while True:
            preemptor, node_name, victims = await self._work.get()
            asked = [await self._evict(preemptor, node_name, victim) for victim in victims]
            self._finished(preemptor, all(asked))

    async def _evict(self, preemptor: PodInfo, node_name: str, victim: PodInfo) -> bool:
        """False when the victim may stay as it is."""
        if self._waiting.reject(victim.uid, PREEMPTION, "preempted"):
            self._tell(preemptor, node_name, victim)
            return True
        namespace, name = victim.key
        try:
            await self._client.patch(
                scheme.PODS,
                namespace,
                name,
                self._disruption(preemptor.pod, victim),
                subresource="status",
            )
            await self._client.delete(
                scheme.PODS,
                namespace,
                name,
                DeleteOptions(preconditions=Preconditions(uid=victim.uid)),
            )
        except ApiError as error:
            if error.reason in ("NotFound", "Conflict"):
                return True  # gone already
            log.warning("victim not evicted", extra={"pod": name, "error": str(error)})
            return False
        self._tell(preemptor, node_name, victim)
        return True

    def _tell(self, preemptor: PodInfo, node_name: str, victim: PodInfo) -> None:
        self._recorder.event(
            scheme.PODS,
            victim.pod,
            NORMAL,
            "Preempted",
            f"Preempted by pod {preemptor.uid} on node {node_name}",
            component=preemptor.pod.spec.schedulerName,
        )

    def _disruption(self, preemptor: Pod, victim: PodInfo) -> bytes:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": (
                f"{preemptor.spec.schedulerName}: preempting to accommodate a higher priority pod"
            ),
            "lastProbeTime": None,
            "lastTransitionTime": self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return orjson.dumps(
            {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}}
        )
