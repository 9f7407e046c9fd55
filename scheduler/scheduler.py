"""The scheduling loop: pops Pods, decides, assumes, hands on to the binder, tells the outcome.

Source: pkg/scheduler/scheduler.go, schedule_one.go.
"""

import asyncio
import logging
import random
from dataclasses import dataclass

import orjson

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.client.event_recorder import NORMAL, WARNING, EventRecorder
from podpath.client.informer import InformerFactory
from podpath.client.interface import Client, Selection
from podpath.component_base.clock import Clock
from podpath.component_base.pod_trace import PodStep, stamp
from scheduler.binder import AssumedPod, Binder
from scheduler.cache import Cache
from scheduler.config import Config
from scheduler.event_handlers import POD_SELECTOR, EventHandlers
from scheduler.framework.runtime import Framework, PluginError
from scheduler.framework.status import Code, FitError
from scheduler.queue import FLUSH_PERIOD_S, QueuedPod, SchedulingQueue
from scheduler.schedule_one import Decision, SchedulingAlgorithm

log = logging.getLogger(__name__)

# How many Pods are decided before the watches get the loop again.
DECISIONS_AT_ONCE = 64
_STATUS_QUEUE_MAX = 1000


@dataclass(frozen=True, slots=True)
class _Condition:
    """What a Pod's PodScheduled condition is to say."""

    queued: QueuedPod
    reason: str
    message: str


class Scheduler:
    """One profile over one client."""

    def __init__(
        self,
        client: Client,
        framework: Framework,
        config: Config,
        *,
        clock: Clock,
        rng: random.Random,
        recorder: EventRecorder,
    ) -> None:
        self._client = client
        self._framework = framework
        self._clock = clock
        self._recorder = recorder
        self.cache = Cache()
        self.queue = SchedulingQueue(
            clock,
            framework.queue_sort.sort_key,
            framework.pre_enqueue,
            backoff_first_s=config.pod_initial_backoff_seconds,
            backoff_max_s=config.pod_max_backoff_seconds,
        )
        self._algorithm = SchedulingAlgorithm(rng, config.percentage_of_nodes_to_score)
        self._binder = Binder(client, self._bound)
        self._conditions: asyncio.Queue[_Condition] = asyncio.Queue(_STATUS_QUEUE_MAX)
        self._informers = InformerFactory(client, clock=clock, rng=rng)
        handlers = EventHandlers(self.cache, self.queue, config.scheduler_name)
        self._informers.informer(scheme.NODES).add_handlers(handlers.for_nodes())
        self._informers.informer(scheme.PODS, Selection(field_selector=POD_SELECTOR)).add_handlers(
            handlers.for_pods()
        )

    @property
    def has_synced(self) -> bool:
        return self._informers.has_synced

    async def watch(self) -> None:
        """Keeps cache and queue fresh, leader or not."""
        await self._informers.run()

    async def lead(self) -> None:
        """Schedules; runs while this process leads."""
        await self._informers.wait_synced()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._binder.run(), name="binder")
            tasks.create_task(self._write_conditions(), name="conditions")
            tasks.create_task(self._flush(), name="flush-unschedulable")
            tasks.create_task(self._schedule_forever(), name="schedule")

    async def _schedule_forever(self) -> None:
        while True:
            for queued in await self.queue.pop(DECISIONS_AT_ONCE):
                self.schedule_one(queued)
            await asyncio.sleep(0)  # let watches and binder run between rounds

    def schedule_one(self, queued: QueuedPod) -> None:
        """The scheduling cycle of one Pod, from its pop to its assumption."""
        try:
            decision = self._algorithm.schedule(self._framework, queued.info, self.cache.nodes())
        except PluginError as error:
            self._failed(queued, "SchedulerError", str(error), frozenset())
            return
        if decision.fit_error is not None:
            self._does_not_fit(queued, decision.fit_error)
            return
        _stamp(queued.uid, decision)
        self.cache.assume(queued.info, decision.node_name)
        for stage in (self._framework.reserve, self._framework.permit):
            status = stage(decision.state, queued.info, decision.node_name)
            if status.code is not Code.SUCCESS:
                self.cache.forget(queued.uid)
                plugins = frozenset((status.plugin,)) if status.is_rejection else frozenset()
                self._failed(queued, "Unschedulable", status.message, plugins)
                return
        self._binder.submit(AssumedPod(queued, decision.node_name, decision.state))

    def _bound(self, assumed: AssumedPod, error: ApiError | None) -> None:
        queued, node_name = assumed.queued, assumed.node_name
        if error is None:
            self.queue.done(queued.uid)
            self._framework.post_bind(queued.info, node_name)
            namespace, name = queued.info.key
            self._recorder.event(
                scheme.PODS,
                queued.info.pod,
                NORMAL,
                "Scheduled",
                f"Successfully assigned {namespace}/{name} to {node_name}",
            )
            return
        self._framework.unreserve(assumed.state, queued.info, node_name)
        self.cache.forget(queued.uid)
        if error.reason in ("NotFound", "Conflict"):
            # Gone, or bound by somebody else: the watch tells what became of it.
            log.info("not bound", extra={"pod": queued.info.key, "error": str(error)})
            self.queue.done(queued.uid)
            return
        message = f"binding rejected: {error}"
        self._failed(queued, "SchedulerError", message, frozenset())

    def _does_not_fit(self, queued: QueuedPod, error: FitError) -> None:
        self._failed(queued, "Unschedulable", str(error), error.plugins)

    def _failed(
        self, queued: QueuedPod, reason: str, message: str, plugins: frozenset[str]
    ) -> None:
        self.queue.requeue(queued, plugins)
        self._recorder.event(scheme.PODS, queued.info.pod, WARNING, "FailedScheduling", message)
        if _says_already(queued, reason, message):
            return
        try:
            self._conditions.put_nowait(_Condition(queued, reason, message))
        except asyncio.QueueFull:
            log.warning("condition not written: too many are waiting")

    async def _write_conditions(self) -> None:
        while True:
            condition = await self._conditions.get()
            namespace, name = condition.queued.info.key
            try:
                await self._client.patch(
                    scheme.PODS, namespace, name, self._patch(condition), subresource="status"
                )
            except ApiError as error:
                log.info("condition not written", extra={"pod": name, "error": str(error)})

    def _patch(self, condition: _Condition) -> bytes:
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return orjson.dumps(
            {
                "metadata": {"uid": condition.queued.uid},
                "status": {
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": condition.reason,
                            "message": condition.message,
                            "lastProbeTime": None,
                            "lastTransitionTime": now,
                        }
                    ]
                },
            }
        )

    async def _flush(self) -> None:
        while True:
            await self._clock.sleep(FLUSH_PERIOD_S)
            self.queue.flush_unschedulable()


def _says_already(queued: QueuedPod, reason: str, message: str) -> bool:
    return any(
        c.type == "PodScheduled"
        and c.status == "False"
        and c.reason == reason
        and c.message == message
        for c in queued.info.pod.status.conditions
    )


def _stamp(uid: str, decision: Decision) -> None:
    stamp(PodStep.FILTERED, uid, f"{decision.feasible} of {decision.evaluated} nodes feasible")
    best = next((s for s in decision.scores if s.name == decision.node_name), None)
    score = "the only one" if best is None else f"score {best.total}"
    stamp(PodStep.SCORED, uid, f"{decision.node_name}, {score}")
