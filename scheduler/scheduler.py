"""The scheduling loop: pops Pods, decides, assumes, hands on to the binder, tells the outcome.

Source: pkg/scheduler/scheduler.go, schedule_one.go.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping

from podpath.api import scheme
from podpath.client.event_recorder import NORMAL, EventRecorder
from podpath.client.informer import InformerFactory
from podpath.client.interface import Client, Selection
from podpath.component_base.clock import Clock
from podpath.component_base.pod_trace import PodStep, stamp
from protos.k8s.core_v1_pb2 import Pod
from scheduler.binder import AssumedPod, Binder, Failure
from scheduler.cache import Cache
from scheduler.config import Config
from scheduler.event_handlers import POD_SELECTOR, EventHandlers
from scheduler.explain import DecisionLog
from scheduler.failures import FailureHandler
from scheduler.framework.events import Action, ClusterEvent
from scheduler.framework.handle import Handle
from scheduler.framework.runtime import Framework, PluginError
from scheduler.framework.status import Code, FitError, Status, failed
from scheduler.listers import RESOURCES, Listers, StoreListers
from scheduler.nominator import Nominator
from scheduler.pod_info import PodInfo
from scheduler.pod_status import StatusWriter
from scheduler.preemption import Evictor
from scheduler.queue import FLUSH_PERIOD_S, QueuedPod, SchedulingQueue
from scheduler.schedule_one import Algorithm, Decision, SchedulingAlgorithm

log = logging.getLogger(__name__)

# How many Pods are decided before the watches get the loop again.
DECISIONS_AT_ONCE = 64

Frameworks = Callable[[Handle], Mapping[str, Framework]]
"""Builds the profiles over what the scheduler sees; by schedulerName."""

Algorithms = Callable[[Framework, Cache, Listers], Algorithm]


class Scheduler:
    """All profiles over one client, one cache and one queue."""

    def __init__(
        self,
        client: Client,
        frameworks: Frameworks,
        config: Config,
        *,
        clock: Clock,
        rng: random.Random,
        recorder: EventRecorder,
        algorithms: Algorithms | None = None,
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self.decisions = DecisionLog(clock)
        self.cache = Cache()
        self._informers = InformerFactory(client, clock=clock, rng=rng)
        self.nominator = Nominator()
        self.handle = Handle(
            self.cache,
            StoreListers.of(self._informers),
            rng,
            clock,
            self.nominator,
            client=client,
        )
        self.frameworks = frameworks(self.handle)
        make = algorithms or (
            lambda _framework, _cache, _listers: SchedulingAlgorithm(
                rng, config.percentage_of_nodes_to_score
            )
        )
        self._algorithms = {
            name: make(framework, self.cache, self.handle.listers)
            for name, framework in self.frameworks.items()
        }
        self._registrations = {n: f.registrations() for n, f in self.frameworks.items()}
        any_framework = next(iter(self.frameworks.values()))
        self.queue = SchedulingQueue(
            clock,
            any_framework.queue_sort.sort_key,
            lambda pod: self._framework(pod.pod.spec.schedulerName).pre_enqueue(pod),
            backoff_first_s=config.pod_initial_backoff_seconds,
            backoff_max_s=config.pod_max_backoff_seconds,
            interests=lambda pod: self._registrations[pod.pod.spec.schedulerName],
        )
        self._binder = Binder(client, clock, self._bound)
        self._status = StatusWriter(client, clock)
        self._failures = FailureHandler(self.queue, self.nominator, recorder, self._status)
        self._evictor = Evictor(client, clock, recorder, self.handle.waiting, self._evicted)
        self._watch_everything()

    def _framework(self, scheduler_name: str) -> Framework:
        return self.frameworks[scheduler_name]

    def _watch_everything(self) -> None:
        handlers = EventHandlers(
            self.cache, self.queue, self.nominator, self.frameworks, self._end_waiting
        )
        self._informers.informer(scheme.NODES).add_handlers(handlers.for_nodes())
        self._informers.informer(scheme.PODS, Selection(field_selector=POD_SELECTOR)).add_handlers(
            handlers.for_pods()
        )
        for resource in RESOURCES:
            self._informers.informer(resource).add_handlers(handlers.for_others(resource))

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
            tasks.create_task(self._status.run(), name="conditions")
            tasks.create_task(self._evictor.run(), name="evictor")
            tasks.create_task(self._flush(), name="flush-unschedulable")
            tasks.create_task(self._schedule_forever(), name="schedule")

    async def _schedule_forever(self) -> None:
        while True:
            for queued in await self.queue.pop(DECISIONS_AT_ONCE):
                self.schedule_one(queued)
            await asyncio.sleep(0)  # let watches and binder run between rounds

    def schedule_one(self, queued: QueuedPod) -> None:
        """The scheduling cycle of one Pod, from its pop to its assumption."""
        name = queued.info.pod.spec.schedulerName
        framework = self._framework(name)
        try:
            decision = self._algorithms[name].schedule(framework, queued.info, self.cache.nodes())
        except PluginError as error:
            self._failures.failed(queued, failed("", str(error)))
            return
        except Exception as error:
            # A fault in a plugin must not keep all other Pods from their nodes.
            log.exception("a Pod could not be decided", extra={"pod": queued.info.key})
            self._failures.failed(queued, failed("", repr(error)))
            return
        self.decisions.keep(queued, framework, decision)
        if decision.fit_error is not None:
            self._does_not_fit(queued, decision, decision.fit_error)
            return
        _stamp(queued.info.pod, decision)
        self.nominator.remove(queued.uid)
        self.cache.assume(queued.info, decision.node_name)
        assumed = AssumedPod(queued, decision.node_name, decision.state, framework, queued.info)
        status = _promise(assumed)
        if status.code in (Code.SUCCESS, Code.WAIT):
            self._binder.submit(assumed)
        else:
            self._not_bound(assumed, Failure(status))

    def _bound(self, assumed: AssumedPod, failure: Failure | None) -> None:
        if failure is not None:
            self._not_bound(assumed, failure)
            return
        self.queue.done(assumed.info.uid)
        assumed.framework.binding.post_bind(assumed.state, assumed.info, assumed.node_name)
        namespace, name = assumed.info.key
        self._recorder.event(
            scheme.PODS,
            assumed.info.pod,
            NORMAL,
            "Scheduled",
            f"Successfully assigned {namespace}/{name} to {assumed.node_name}",
            component=assumed.framework.profile,
        )

    def _not_bound(self, assumed: AssumedPod, failure: Failure) -> None:
        """Takes back what was promised: to others, that is as if a Pod had left the node."""
        uid = assumed.info.uid
        assumed.framework.binding.unreserve(assumed.state, assumed.info, assumed.node_name)
        freed = self.cache.forget(uid)
        if failure.is_moot:
            # Gone, or bound by somebody else: the watch takes it out of the queue, else it is
            # tried again.
            log.info("not bound", extra={"pod": assumed.info.key, "why": failure.status.message})
            self.queue.requeue(assumed.queued, frozenset())
        else:
            self._failures.failed(assumed.queued, rejected_on(assumed.node_name, failure.status))
        if freed is not None:
            self.queue.move(ClusterEvent(scheme.PODS, Action.DELETE, freed, None), but=uid)

    def _does_not_fit(self, queued: QueuedPod, decision: Decision, error: FitError) -> None:
        """Tells it, and carries out what PostFilter decided."""
        result = decision.post_filter
        nominated = result.nominated if result is not None else ""
        if result is not None and result.nominated and result.victims:
            self._set_evicting(queued.info, active=True)
            self._evictor.submit(queued.info, result.nominated, result.victims)
        self._failures.failed(queued, error, nominated)

    def _end_waiting(self, uid: str) -> None:
        self.handle.waiting.reject(uid, "", "removed")

    def _set_evicting(self, pod: PodInfo, *, active: bool) -> None:
        framework = self._framework(pod.pod.spec.schedulerName)
        for plugin in framework.pre_enqueue_plugins:
            running: set[str] | None = getattr(plugin, "running", None)
            if running is not None:
                (running.add if active else running.discard)(pod.uid)

    def _evicted(self, preemptor: PodInfo, succeeded: bool) -> None:
        """All its victims were asked to go: when they are gone, the Pod may be tried again."""
        self._set_evicting(preemptor, active=False)
        if succeeded:
            self.queue.recheck(preemptor.uid)
        else:
            self.queue.retry(preemptor.uid)

    async def _flush(self) -> None:
        while True:
            await self._clock.sleep(FLUSH_PERIOD_S)
            self.queue.flush_unschedulable()


def _promise(assumed: AssumedPod) -> Status:
    """Reserve and Permit."""
    stages, args = assumed.framework.binding, (assumed.state, assumed.info, assumed.node_name)
    try:
        status = stages.reserve(*args)
        return stages.permit(*args) if status.code is Code.SUCCESS else status
    except Exception as error:
        log.exception("a plugin has a fault", extra={"pod": assumed.info.key})
        return failed("", repr(error))


def rejected_on(node_name: str, status: Status) -> Status | FitError:
    """A rejection after the decision reads as if the chosen node were the only one."""
    return FitError(1, {node_name: status}) if status.is_rejection else status


def _stamp(pod: Pod, decision: Decision) -> None:
    uid, annotations = pod.metadata.uid, pod.metadata.annotations
    filtered = f"{decision.feasible} of {decision.evaluated} nodes feasible"
    stamp(PodStep.FILTERED, uid, filtered, annotations)
    score = "the only one" if decision.score is None else f"score {decision.score}"
    stamp(PodStep.SCORED, uid, f"{decision.node_name}, {score}", annotations)
