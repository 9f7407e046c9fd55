"""The scheduler between a busy cluster and a bad network, on virtual time.

Safety at every step: a Pod is bound once, no node holds more than it has. Liveness at the end:
once the network is well again, every Pod gets a node, long before the queue's five-minute flush
would help somebody who was forgotten. `SEEDS=1000 make sim` runs more lives.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter

import pytest

from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.client.event_recorder import EventRecorder
from podpath.client.interface import EventType
from podpath.client.leader_election import LeaderElector, LeaseLock, LostLeadershipError
from podpath.client.memory import MemoryClient
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.meta_v1_pb2 import DeleteOptions
from scheduler.config import Config
from scheduler.plugins.registry import default_framework
from scheduler.schedule_one import SchedulingAlgorithm
from scheduler.scheduler import Scheduler
from scheduler.vectorised.algorithm import VectorisedAlgorithm
from tests.support import virtual_time
from tests.support.bad_network import BadNetwork, Faults
from tests.support.scheduling import node

pytestmark = pytest.mark.simulation

SEEDS = int(os.environ.get("SEEDS", "12"))
NODES, SLOTS = 4, 6  # each Pod takes one of a node's slots
BUSY_S = 40.0
RECOVERY_S = 90.0
ROUGH = Faults(delay_s=0.3, lost_requests=0.05, lost_answers=0.05, broken_streams=0.05)
WELL = Faults(delay_s=0.05)
AT_ONCE = DeleteOptions(gracePeriodSeconds=0)


class Cluster:
    """An API server, and what everybody but the scheduler does to it."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.clock = virtual_time.VirtualClock()
        self.server = MemoryClient(self.clock, random.Random(seed + 1))
        self.count = 0

    async def set_up(self):
        for i in range(NODES):
            made = node(f"n{i}", allocatable={"cpu": str(SLOTS)}, zone=f"z{i % 2}")
            await self.server.create(scheme.NODES, made)

    async def pods(self):
        return (await self.server.list(scheme.PODS)).items

    async def one_of(self, resource):
        items = (await self.server.list(resource)).items
        return self.rng.choice(items) if items else None

    async def create(self):
        self.count += 1
        made = Pod(spec={"schedulerName": "default-scheduler"})
        made.metadata.name, made.metadata.namespace = f"p{self.count}", "default"
        made.spec.priority = self.rng.choice((0, 0, 0, 10))
        container = made.spec.containers.add(name="c", image="image")
        container.resources.requests["cpu"].string = "1"
        if self.rng.random() < 0.1:
            made.spec.schedulingGates.add(name="later")
        await self.server.create(scheme.PODS, made)

    async def delete(self):
        found = await self.one_of(scheme.PODS)
        if found is not None:
            await self.server.delete(scheme.PODS, "default", found.metadata.name)

    async def open_gates(self):
        for found in await self.pods():
            if found.spec.schedulingGates:
                del found.spec.schedulingGates[:]
                await self.server.update(scheme.PODS, found)

    async def change_node(self):
        found = await self.one_of(scheme.NODES)
        kind = self.rng.choice(("cordon", "taint", "label"))
        if kind == "cordon":
            found.spec.unschedulable = not found.spec.unschedulable
        elif kind == "label":
            found.metadata.labels["turn"] = str(self.count)
        elif found.spec.taints:
            del found.spec.taints[:]
        else:
            found.spec.taints.add(key="away", effect="NoSchedule")
        await self.server.update(scheme.NODES, found)

    async def make_room(self):
        """Open nodes, and a slot for everybody."""
        await self.open_gates()
        for found in (await self.server.list(scheme.NODES)).items:
            found.spec.unschedulable = False
            del found.spec.taints[:]
            await self.server.update(scheme.NODES, found)
        pods = sorted(await self.pods(), key=lambda p: not p.spec.nodeName)
        for found in pods[: max(len(pods) - NODES * SLOTS, 0)]:
            await self.server.delete(scheme.PODS, "default", found.metadata.name, AT_ONCE)

    async def watch_over(self):
        """Checks each state of the cluster; ends Pods that are being deleted, as kubelets do."""
        present = {}
        placed = {}
        async with asyncio.TaskGroup() as kubelets:
            async for events in self.server.watch(scheme.PODS, send_initial_events=True):
                for event in events:
                    if event.type is EventType.BOOKMARK:
                        continue
                    meta, where = event.object.metadata, event.object.spec.nodeName
                    if event.type is EventType.DELETED:
                        present.pop(meta.uid, None)
                        continue
                    present[meta.uid] = where
                    if where:
                        assert placed.setdefault(meta.uid, where) == where, "bound twice"
                    if where and meta.HasField("deletionTimestamp"):
                        kubelets.create_task(self._end(meta.name))
                    used = Counter(filter(None, present.values()))
                    assert max(used.values(), default=0) <= SLOTS, f"over-committed: {used}"

    async def _end(self, name):
        await self.clock.sleep(self.rng.random() * 3)
        with contextlib.suppress(ApiError):
            await self.server.delete(scheme.PODS, "default", name, AT_ONCE)


class Process:
    """A scheduler behind a network of its own, started again whenever it ends."""

    def __init__(self, cluster, tasks):
        self._cluster = cluster
        self._tasks = tasks
        self._start()

    def _start(self):
        rng = random.Random(self._cluster.rng.random())
        self.network = BadNetwork(self._cluster.server, self._cluster.clock, rng, ROUGH)
        self.task = self._tasks.create_task(self._run(rng))

    def kill(self):
        """As with SIGKILL: nothing that it would like to say on its way out arrives."""
        self.network.go_down()
        self.task.cancel()
        self._start()

    async def _run(self, rng):
        clock, network = self._cluster.clock, self.network
        while True:
            recorder = EventRecorder(network, "default-scheduler", clock=clock)
            scheduler = Scheduler(
                network,
                lambda handle: {"default-scheduler": default_framework(handle)},
                Config(kubeconfig=""),
                clock=clock,
                rng=rng,
                recorder=recorder,
                algorithms=lambda framework, cache, listers: VectorisedAlgorithm(
                    framework, cache, listers, SchedulingAlgorithm(rng)
                ),
            )
            lock = LeaseLock("kube-system", "kube-scheduler", f"{rng.getrandbits(64):x}")
            elector = LeaderElector(network, lock, clock=clock, rng=rng)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(recorder.run())
                    tasks.create_task(scheduler.watch())
                    tasks.create_task(elector.run(scheduler.lead))
            except* LostLeadershipError:
                await clock.sleep(1.0)


class Life:
    """Everybody wants something at once, the network fails, schedulers die; then it is calm."""

    def __init__(self, cluster, tasks):
        self.cluster = cluster
        self.tasks = tasks
        self.processes = [Process(cluster, tasks) for _ in range(2)]

    async def outage(self):
        self.tasks.create_task(self._outage(self.cluster.rng.choice((0.5, 3.0, 12.0))))

    async def _outage(self, seconds):
        for process in self.processes:
            process.network.go_down()
        await self.cluster.clock.sleep(seconds)
        for process in self.processes:
            process.network.go_up()

    async def kill(self):
        self.cluster.rng.choice(self.processes).kill()

    async def be_busy(self):
        cluster = self.cluster
        actions = {
            cluster.create: 40,
            cluster.delete: 15,
            cluster.change_node: 10,
            cluster.open_gates: 4,
            self.outage: 1,
            self.kill: 1,
        }
        until = cluster.clock.monotonic() + BUSY_S
        while cluster.clock.monotonic() < until:
            (action,) = cluster.rng.choices(list(actions), list(actions.values()))
            with contextlib.suppress(ApiError):
                await action()
            await cluster.clock.sleep(cluster.rng.random() * 0.4)

    async def calm_down(self):
        await self.cluster.clock.sleep(15.0)  # the last outage ends
        for process in self.processes:
            process.network.faults = WELL
        await self.cluster.make_room()

    async def until_all_are_placed(self):
        until = self.cluster.clock.monotonic() + RECOVERY_S
        while waiting := [
            p.metadata.name for p in await self.cluster.pods() if not p.spec.nodeName
        ]:
            assert self.cluster.clock.monotonic() < until, f"without a node: {waiting}"
            await self.cluster.clock.sleep(0.5)


async def live(seed):
    cluster = Cluster(seed)
    await cluster.set_up()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(cluster.watch_over())
        life = Life(cluster, tasks)
        await life.be_busy()
        await life.calm_down()
        await life.until_all_are_placed()
        for task in (watching, *(process.task for process in life.processes)):
            task.cancel()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_pod_is_bound_once(seed):
    virtual_time.run(live(seed))
