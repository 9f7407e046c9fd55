"""The binding cycle: PreBind where a plugin has to, then Bind, many in one call when many wait.

A binding never waits for company: what gathered while a call was under way goes with the next.
When the API server is gone in the middle of a call, nobody knows what became of its bindings. They
are read back before anything else is sent: until then their Pods keep the nodes they were promised.

Source: pkg/scheduler/schedule_one.go (bindingCycle), plugins/defaultbinder/default_binder.go.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podpath.api import errors, scheme
from podpath.api.errors import ApiError
from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from podpath.component_base.pod_trace import PodStep, stamp
from protos.k8s.core_v1_pb2 import Binding, ObjectReference, Pod
from protos.k8s.meta_v1_pb2 import ObjectMeta
from scheduler.framework.binding_stages import DEFAULT_BINDER
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.runtime import Framework
from scheduler.framework.status import Code, Status, failed
from scheduler.pod_info import PodInfo
from scheduler.queue import QueuedPod

log = logging.getLogger(__name__)

BATCH_MAX = 200
CALLS_IN_FLIGHT = 2
READ_BACK_FIRST_S = 0.1
READ_BACK_MAX_S = 2.0
READ_BACK_FOR_S = 60.0
"""After this the Pod is tried again, as one whose binding failed for certain."""

_IN_DOUBT = ("ServiceUnavailable", "ServerTimeout", "Timeout", "InternalError")
"""Reasons of errors after which a write may have been stored, or be stored yet."""


@dataclass(frozen=True, slots=True)
class AssumedPod:
    """A Pod that was promised to a node and has to be bound there."""

    queued: QueuedPod
    node_name: str
    state: CycleState
    framework: Framework
    info: PodInfo


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an assumed Pod was not bound. `is_moot`: the Pod is gone or has a node already, which
    the watch tells; nothing is wrong with the Pod."""

    status: Status
    is_moot: bool = False


Outcome = Callable[[AssumedPod, Failure | None], None]


def binding_of(assumed: AssumedPod) -> Binding:
    """The Binding of a Pod; its uid keeps it from binding a successor of the same name."""
    namespace, name = assumed.info.key
    return Binding(
        metadata=ObjectMeta(namespace=namespace, name=name, uid=assumed.info.uid),
        target=ObjectReference(kind="Node", name=assumed.node_name),
    )


class Binder:
    """`submit` queues; `run` sends and tells each outcome."""

    def __init__(self, client: Client, clock: Clock, outcome: Outcome) -> None:
        self._client = client
        self._clock = clock
        self._outcome = outcome
        self._waiting: list[AssumedPod] = []
        self._wake = asyncio.Event()
        self._slow: asyncio.Queue[AssumedPod] = asyncio.Queue()

    def submit(self, assumed: AssumedPod) -> None:
        if assumed.framework.binding.has_work(assumed.state, assumed.info, assumed.node_name):
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
        stages, state, pod = assumed.framework.binding, assumed.state, assumed.info
        try:
            status = await stages.wait_on_permit(pod)
            if status.code is Code.SUCCESS:
                status = await stages.pre_bind(state, pod, assumed.node_name)
            if status.code is Code.SUCCESS:
                status = await stages.bind(state, pod, assumed.node_name)
        except Exception as error:
            log.exception("a plugin has a fault", extra={"pod": pod.key})
            status = failed("", repr(error))
        if status.code is Code.SKIP:
            self._batch(assumed)
        else:
            self._outcome(assumed, None if status.code is Code.SUCCESS else Failure(status))

    async def _send_forever(self) -> None:
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            in_doubt: list[tuple[AssumedPod, ApiError]] = []
            for assumed, error in zip(batch, await self._send(batch), strict=True):
                if error is not None and error.reason in _IN_DOUBT:
                    in_doubt.append((assumed, error))
                else:
                    self._tell(assumed, error)
            if in_doubt:
                # One asks until the server answers again, then all the others do.
                await self._read_back(*in_doubt[0])
                await asyncio.gather(*(self._read_back(*doubt) for doubt in in_doubt[1:]))

    async def _send(self, batch: Sequence[AssumedPod]) -> Sequence[ApiError | None]:
        for assumed in batch:
            annotations = assumed.info.pod.metadata.annotations
            stamp(PodStep.BIND, assumed.info.uid, assumed.node_name, annotations)
        try:
            if len(batch) == 1:
                await self._client.bind(binding_of(batch[0]))
                return [None]
            return await self._client.bind_many([binding_of(assumed) for assumed in batch])
        except ApiError as error:
            return [error] * len(batch)

    async def _read_back(self, assumed: AssumedPod, error: ApiError) -> None:
        """Learns what became of a binding whose call ended without an answer."""
        delay_s = READ_BACK_FIRST_S
        until = self._clock.monotonic() + READ_BACK_FOR_S
        while True:
            try:
                pod = await self._client.get(scheme.PODS, *assumed.info.key)
            except ApiError as failure:
                if failure.reason not in _IN_DOUBT or self._clock.monotonic() >= until:
                    self._tell(assumed, failure)
                    return
                await self._clock.sleep(delay_s)
                delay_s = min(2 * delay_s, READ_BACK_MAX_S)
            else:
                self._tell(assumed, outcome_in(pod, assumed, error))
                return

    def _tell(self, assumed: AssumedPod, error: ApiError | None) -> None:
        if error is None:
            self._outcome(assumed, None)
            return
        reason = f'running Bind plugin "{DEFAULT_BINDER}": {error}'
        is_moot = error.reason in ("NotFound", "Conflict")
        self._outcome(assumed, Failure(failed(DEFAULT_BINDER, reason), is_moot))


def outcome_in(pod: Pod, assumed: AssumedPod, error: ApiError) -> ApiError | None:
    """What the Pod, read after a Bind call that ended with `error`, says about that call."""
    name = pod.metadata.name
    if pod.metadata.uid != assumed.info.uid:
        return errors.not_found("", "pods", name)
    if not pod.spec.nodeName:
        return error
    if pod.spec.nodeName == assumed.node_name:
        return None
    cause = f'pod {name} is already assigned to node "{pod.spec.nodeName}"'
    return errors.conflict("", "pods/binding", name, cause)
