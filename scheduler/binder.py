"""The binding cycle: PreBind where a plugin has to, then Bind, many in one call when many wait.

A binding never waits for company: what gathered while a call was under way goes with the next.

Source: pkg/scheduler/schedule_one.go (bindingCycle), plugins/defaultbinder/default_binder.go.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podpath.api import errors
from podpath.api.errors import ApiError
from podpath.client.interface import Writer
from podpath.component_base.pod_trace import PodStep, stamp
from protos.k8s.core_v1_pb2 import Binding, ObjectReference
from protos.k8s.meta_v1_pb2 import ObjectMeta
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.runtime import Framework
from scheduler.framework.status import SUCCESS, Code
from scheduler.pod_info import PodInfo
from scheduler.queue import QueuedPod

log = logging.getLogger(__name__)

BATCH_MAX = 200
CALLS_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class AssumedPod:
    """A Pod that was promised to a node and has to be bound there."""

    queued: QueuedPod
    node_name: str
    state: CycleState
    framework: Framework
    info: PodInfo


Outcome = Callable[[AssumedPod, ApiError | None], None]


def binding_of(assumed: AssumedPod) -> Binding:
    """The Binding of a Pod; its uid keeps it from binding a successor of the same name."""
    namespace, name = assumed.info.key
    return Binding(
        metadata=ObjectMeta(namespace=namespace, name=name, uid=assumed.info.uid),
        target=ObjectReference(kind="Node", name=assumed.node_name),
    )


class Binder:
    """`submit` queues; `run` sends and tells each outcome."""

    def __init__(self, client: Writer, outcome: Outcome) -> None:
        self._client = client
        self._outcome = outcome
        self._waiting: list[AssumedPod] = []
        self._wake = asyncio.Event()
        self._slow: asyncio.Queue[AssumedPod] = asyncio.Queue()

    def submit(self, assumed: AssumedPod) -> None:
        if assumed.framework.has_binding_work(assumed.state, assumed.info, assumed.node_name):
            self._slow.put_nowait(assumed)
        else:
            self._batch(assumed)

    def _batch(self, assumed: AssumedPod) -> None:
        self._waiting.append(assumed)
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLS_IN_FLIGHT):
                tasks.create_task(self._send_forever(), name="binder")
            while True:
                assumed = await self._slow.get()
                tasks.create_task(self._prepare(assumed), name="binding-cycle")

    async def _prepare(self, assumed: AssumedPod) -> None:
        """What plugins have to do before (or instead of) the Bind call; may take minutes."""
        framework, state, pod = assumed.framework, assumed.state, assumed.info
        status = SUCCESS
        for stage in (framework.wait_on_permit, framework.pre_bind, framework.bind):
            status = await stage(state, pod, assumed.node_name)
            if status.code not in (Code.SUCCESS, Code.SKIP):
                self._outcome(assumed, errors.internal_error(status.message))
                return
        if status.code is Code.SKIP:
            self._batch(assumed)
        else:
            self._outcome(assumed, None)

    async def _send_forever(self) -> None:
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            for assumed, error in zip(batch, await self._send(batch), strict=True):
                self._outcome(assumed, error)

    async def _send(self, batch: Sequence[AssumedPod]) -> Sequence[ApiError | None]:
        for assumed in batch:
            stamp(PodStep.BIND, assumed.info.uid, assumed.node_name)
        try:
            if len(batch) == 1:
                await self._client.bind(binding_of(batch[0]))
                return [None]
            return await self._client.bind_many([binding_of(assumed) for assumed in batch])
        except ApiError as error:
            return [error] * len(batch)
