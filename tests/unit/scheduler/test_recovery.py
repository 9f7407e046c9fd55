"""A Pod that waits is woken by whatever makes room for it, also when something went wrong there."""

import asyncio
import random
from contextlib import asynccontextmanager

from podpath.api import errors, scheme
from podpath.client.event_recorder import EventRecorder
from podpath.client.memory import MemoryClient
from protos.k8s.meta_v1_pb2 import DeleteOptions
from scheduler.config import Config
from scheduler.framework.events import Action, ClusterEvent, Registration
from scheduler.framework.runtime import Framework
from scheduler.framework.status import SUCCESS, Code, Status, unschedulable
from scheduler.plugins.registry import DEFAULT_WEIGHTS, IN_TREE
from scheduler.scheduler import Scheduler
from tests.support import virtual_time
from tests.support.bad_network import BadNetwork, Faults
from tests.support.scheduling import node, pod

AT_ONCE = DeleteOptions(gracePeriodSeconds=0)
WITHIN_S = 30.0
"""Ten times less than the flush of those who were forgotten."""


class World:
    """A scheduler over a server in memory, on virtual time."""

    def __init__(self, server, scheduler, clock):
        self.server, self.scheduler, self.clock = server, scheduler, clock

    async def create(self, name, cpu="1", **spec):
        made = pod(name, requests={"cpu": cpu}, schedulerName="default-scheduler", **spec)
        return await self.server.create(scheme.PODS, made)

    async def delete(self, name):
        await self.server.delete(scheme.PODS, "default", name, AT_ONCE)

    async def is_placed(self, name):
        return (await self.server.get(scheme.PODS, "default", name)).spec.nodeName

    async def eventually(self, condition):
        async with asyncio.timeout(WITHIN_S):
            while not (found := await condition()):
                await self.clock.sleep(0.1)
            return found

    async def is_unschedulable(self, name):
        found = await self.server.get(scheme.PODS, "default", name)
        return next((c.message for c in found.status.conditions if c.status == "False"), None)


def framework_with(extra):
    def build(handle):
        plugins = [factory(handle, {}) for factory in IN_TREE.values()]
        chosen = [*plugins[:-1], *(make(handle) for make in extra), plugins[-1]]
        framework = Framework(
            chosen, DEFAULT_WEIGHTS, nominator=handle.nominator, waiting=handle.waiting
        )
        handle.filters = framework
        return {"default-scheduler": framework}

    return build


@asynccontextmanager
async def world(*nodes, server=None, plugins=()):
    clock = virtual_time.VirtualClock()
    server = server or MemoryClient(clock)
    for made in nodes:
        await server.create(scheme.NODES, made)
    recorder = EventRecorder(server, "default-scheduler", clock=clock)
    scheduler = Scheduler(
        server,
        framework_with(plugins),
        Config(kubeconfig=""),
        clock=clock,
        rng=random.Random(7),
        recorder=recorder,
    )
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(work)
            for work in (recorder.run(), scheduler.watch(), scheduler.lead())
        ]
        yield World(server, scheduler, clock)
        for task in running:
            task.cancel()


def one_slot():
    return node("n", allocatable={"cpu": "1"})


def bindings_refused(server, error, times=1):
    server.inject_error("bind", error, times=times)


def test_a_promise_that_is_taken_back_makes_room_for_others():
    """The first Pod is gone when it is bound; the second waited for what it was promised."""

    async def run():
        server = MemoryClient(virtual_time.VirtualClock())
        bindings_refused(server, errors.not_found("", "pods", "first"), times=3)
        async with world(one_slot(), server=server) as w:
            await w.create("first", priority=1)
            await w.create("second")
            await w.eventually(lambda: w.is_unschedulable("second"))
            await w.delete("first")
            await w.eventually(lambda: w.is_placed("second"))

    virtual_time.run(run())


def test_a_conflict_that_the_watch_does_not_explain_is_tried_again():
    async def run():
        server = MemoryClient(virtual_time.VirtualClock())
        bindings_refused(server, errors.conflict("", "pods/binding", "p", "changed"), times=2)
        async with world(one_slot(), server=server) as w:
            await w.create("p")
            await w.eventually(lambda: w.is_placed("p"))
            assert await w.is_unschedulable("p") is None  # nothing was wrong with it

    virtual_time.run(run())


class Slow:
    """Holds bindings back until it is told."""

    name = "Slow"

    def __init__(self, handle):
        self.handle = handle

    def permit(self, _state, _pod, _node_name):
        return Status(Code.WAIT), 600.0

    def events_to_register(self):
        return ()


def test_a_pod_deleted_between_decision_and_binding_makes_room():
    async def run():
        async with world(one_slot(), plugins=(Slow,)) as w:
            await w.create("first", priority=1)
            await w.create("second")
            await w.eventually(lambda: w.is_unschedulable("second"))
            await w.delete("first")

            async def waits():
                waiting = w.scheduler.handle.waiting.list()
                return [info.key[1] for info in waiting] == ["second"]

            await w.eventually(waits)

    virtual_time.run(run())


def test_what_changes_while_a_pod_is_promised_a_node_counts_for_its_next_try():
    async def run():
        async with world(one_slot(), node("open"), plugins=(Slow,)) as w:
            made = await w.create("p", nodeSelector={"kubernetes.io/hostname": "n"})
            await w.eventually(lambda: _waits(w))
            made.metadata.labels["changed"] = "yes"
            await w.server.update(scheme.PODS, made)
            await w.clock.sleep(0.1)
            w.scheduler.handle.waiting.reject(made.metadata.uid, "Slow", "not now")
            await w.clock.sleep(0.1)
            assert w.scheduler.queue.knows(made.metadata.uid).labels == {"changed": "yes"}
            message = await w.eventually(lambda: w.is_unschedulable("p"))
            assert message == "0/1 nodes are available: 1 not now."

    virtual_time.run(run())


async def _waits(w):
    return w.scheduler.handle.waiting.list()


class Poison:
    """A plugin with a fault that one Pod brings out."""

    name = "Poison"

    def __init__(self, _handle):
        pass

    def pre_filter(self, _state, pod, _nodes):
        if pod.key[1] == "poisoned":
            raise KeyError("a bug")
        return SUCCESS


def test_a_plugins_fault_keeps_no_other_pod_from_its_node():
    async def run():
        async with world(node("n"), plugins=(Poison,)) as w:
            await w.create("poisoned", priority=5)
            await w.create("p")
            await w.eventually(lambda: w.is_placed("p"))
            assert await w.eventually(lambda: w.is_unschedulable("poisoned")) == "KeyError('a bug')"

    virtual_time.run(run())


class Picky:
    """Rejects until it is open; its hint cannot cope with the event that opens it."""

    name = "Picky"
    is_open = False

    def __init__(self, _handle):
        pass

    def filter(self, _state, _pod, _node):
        return SUCCESS if Picky.is_open else unschedulable("Picky", "closed")

    def events_to_register(self):
        return (Registration(scheme.NODES, Action.NODE_LABELS, self._hint),)

    def _hint(self, _pod, _old, _new):
        raise ValueError("a bug")


def test_a_hint_that_fails_wakes_the_pod():
    async def run():
        async with world(node("n"), plugins=(Picky,)) as w:
            await w.create("p")
            await w.eventually(lambda: w.is_unschedulable("p"))
            Picky.is_open = True
            w.scheduler.queue.move(ClusterEvent(scheme.NODES, Action.NODE_LABELS, None, None))
            await w.eventually(lambda: w.is_placed("p"))

    virtual_time.run(run())


def test_an_eviction_that_fails_is_tried_again():
    async def run():
        async with world(one_slot()) as w:
            await w.create("low")
            await w.eventually(lambda: w.is_placed("low"))
            w.server.inject_error("delete", errors.service_unavailable("down"), times=2)
            await w.create("high", priority=10, terminationGracePeriodSeconds=0)

            async def leaving():
                low = await w.server.get(scheme.PODS, "default", "low")
                return low.metadata.HasField("deletionTimestamp")

            await w.eventually(leaving)
            await w.delete("low")
            await w.eventually(lambda: w.is_placed("high"))

    virtual_time.run(run())


def test_a_pod_that_waits_for_permission_can_be_preempted():
    async def run():
        async with world(one_slot(), plugins=(Slow,)) as w:
            low = await w.create("low")
            await w.eventually(lambda: _waits(w))
            await w.create("high", priority=10)

            async def high_waits():
                return [info.key[1] for info in await _waits(w)] == ["high"]

            await w.eventually(high_waits)
            message = await w.eventually(lambda: w.is_unschedulable("low"))
            assert message.startswith("0/1 nodes are available: 1 ")
            assert (
                await w.server.get(scheme.PODS, "default", "low")
            ).metadata.uid == low.metadata.uid

    virtual_time.run(run())


def test_an_outage_in_the_middle_of_a_burst_costs_seconds():
    async def run():
        clock = virtual_time.VirtualClock()
        inner = MemoryClient(clock)
        network = BadNetwork(inner, clock, random.Random(3), Faults(delay_s=0.02))
        async with world(node("n"), node("m"), server=network) as w:
            w.server = inner
            for i in range(30):
                await w.create(f"p{i}", cpu="100m")
                if i == 10:
                    await clock.sleep(0.05)
                    network.go_down()
            await clock.sleep(3.0)
            network.go_up()
            back_at = clock.monotonic()

            async def all_placed():
                return all(p.spec.nodeName for p in (await inner.list(scheme.PODS)).items)

            await w.eventually(all_placed)
            assert clock.monotonic() - back_at < 10

    virtual_time.run(run())
