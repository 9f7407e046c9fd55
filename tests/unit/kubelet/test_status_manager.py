import asyncio

import pytest

from kubelet.status_manager import RETRY_UNAVAILABLE_S, StatusManager, merged
from kubelet.status_writer import StatusWriter
from kubelet.timers import Timers
from podpath.api import errors
from podpath.api.scheme import PODS
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import FakeClock
from protos.k8s import core_v1_pb2 as core
from tests.support.kubelets import new_pod


class Harness:
    def __init__(self, linger_s=0.0):
        self.clock = FakeClock()
        self.client = MemoryClient(self.clock)
        self.writer = StatusWriter(self.client)
        self.timers = Timers(self.clock)
        self.tasks = []
        self.manager = StatusManager(
            self.client, self.writer, self.timers, self.clock, self.spawn, linger_s
        )
        self.spawn(self.writer.run())
        self.spawn(self.timers.run())

    def spawn(self, work):
        self.tasks.append(asyncio.ensure_future(work))

    async def settle(self):
        for _ in range(30):
            await asyncio.sleep(0)

    async def status(self):
        return (await self.client.get(PODS, "default", "web")).status


@pytest.fixture
async def harness():
    made = Harness()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


def running(ip="10.0.0.5"):
    return core.PodStatus(phase="Running", podIP=ip)


async def test_writes_once_and_only_what_differs(harness):
    pod = await harness.client.create(PODS, new_pod())
    assert harness.manager.set(pod, running())
    await harness.settle()
    assert (await harness.status()).phase == "Running"
    assert not harness.manager.set(pod, running())
    await harness.settle()
    assert harness.writer.writes == 1


async def test_the_newest_of_what_waits_is_written(harness):
    pod = await harness.client.create(PODS, new_pod())
    for ip in ("1", "2", "3"):
        harness.manager.set(pod, running(ip))
    await harness.settle()
    assert (await harness.status()).podIP == "3"
    assert harness.writer.writes == 1


async def test_many_pods_go_in_one_call(harness):
    for i in range(10):
        pod = await harness.client.create(PODS, new_pod(f"p{i}"))
        harness.manager.set(pod, running())
    await harness.settle()
    assert (harness.writer.calls, harness.writer.writes) == (1, 10)


async def test_conflict_is_read_again_and_keeps_what_others_wrote(harness):
    pod = await harness.client.create(PODS, new_pod())
    theirs = core.Pod()
    theirs.CopyFrom(pod)
    theirs.status.conditions.add(type="example.com/x", status="True")
    await harness.client.update_status(PODS, theirs)
    harness.manager.set(pod, running())
    await harness.settle()
    status = await harness.status()
    assert status.phase == "Running"
    assert [c.type for c in status.conditions] == ["example.com/x"]


@pytest.mark.parametrize("pods", [1, 3])
async def test_a_status_that_an_outage_swallowed_is_written_afterwards(harness, pods):
    method = "update_status" if pods == 1 else "update_status_many"
    harness.client.inject_error(method, errors.new("ServiceUnavailable", "away"), times=2)
    for i in range(pods):
        pod = await harness.client.create(PODS, new_pod(f"p{i}"))
        harness.manager.set(pod, running())
    for _ in range(2):
        await harness.settle()
        harness.clock.step(RETRY_UNAVAILABLE_S)
    await harness.settle()
    stored = await harness.client.list(PODS)
    assert [pod.status.phase for pod in stored.items] == ["Running"] * pods


async def test_an_ended_phase_is_not_reopened(harness):
    pod = await harness.client.create(PODS, new_pod())
    harness.manager.set(pod, core.PodStatus(phase="Succeeded"))
    assert not harness.manager.set(pod, running())


async def test_deletes_after_the_last_status_is_stored(harness):
    assigned = new_pod()
    assigned.spec.nodeName = "node-1"
    await harness.client.create(PODS, assigned)
    await harness.client.delete(PODS, "default", "web")
    pod = await harness.client.get(PODS, "default", "web")
    harness.manager.set(pod, running())
    await harness.settle()
    assert (await harness.status()).phase == "Running"
    harness.manager.finish(pod, core.PodStatus(phase="Failed"))
    await harness.settle()
    with pytest.raises(errors.ApiError, match="not found"):
        await harness.client.get(PODS, "default", "web")


async def test_first_pending_status_waits_a_moment():
    harness = Harness(linger_s=0.1)
    pod = await harness.client.create(PODS, new_pod())
    pending = core.PodStatus(phase="Pending")
    pending.containerStatuses.add(name="c0").state.waiting.reason = "ContainerCreating"
    harness.manager.set(pod, pending)
    await harness.settle()
    assert harness.writer.writes == 0
    harness.clock.step(0.2)
    await harness.settle()
    assert harness.writer.writes == 1
    for task in harness.tasks:
        task.cancel()
    await asyncio.gather(*harness.tasks, return_exceptions=True)


def test_merge_keeps_the_conditions_of_others():
    server, ours = core.PodStatus(), core.PodStatus()
    server.conditions.add(type="theirs", status="True")
    server.conditions.add(type="Ready", status="False")
    ours.conditions.add(type="theirs", status="False")
    ours.conditions.add(type="Ready", status="True")
    found = merged(server, ours)
    assert [(c.type, c.status) for c in found.conditions] == [("theirs", "True"), ("Ready", "True")]
