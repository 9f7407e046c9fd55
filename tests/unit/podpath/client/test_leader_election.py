import asyncio
import random

import pytest

from podpath.api import errors
from podpath.api.scheme import LEASES
from podpath.client.leader_election import LeaderElector, LeaseLock, LostLeadershipError
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import FakeClock


async def _settle():
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(clock):
    return MemoryClient(clock, random.Random(1))


class Work:
    def __init__(self):
        self.running = False

    async def __call__(self):
        self.running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False


def contend(client, clock, identity):
    lock = LeaseLock("kube-system", "test", identity)
    elector = LeaderElector(client, lock, clock=clock, rng=random.Random(identity))
    work = Work()
    return elector, work, asyncio.ensure_future(elector.run(work))


async def _pass(clock, seconds):
    for _ in range(seconds):
        clock.step(1)
        await _settle()


async def test_the_first_leads_and_renews(client, clock):
    elector, work, task = contend(client, clock, "one")
    await _settle()
    assert work.running
    assert elector.is_leader
    lease = await client.get(LEASES, "kube-system", "test")
    assert lease.spec.holderIdentity == "one"
    assert lease.spec.leaseDurationSeconds == 15
    assert lease.spec.leaseTransitions == 0
    before = lease.spec.renewTime.seconds
    await _pass(clock, 60)
    lease = await client.get(LEASES, "kube-system", "test")
    assert lease.spec.renewTime.seconds >= before + 57
    assert lease.spec.acquireTime.seconds == before
    task.cancel()
    await _settle()


async def test_a_server_that_is_just_starting_is_asked_again_soon(client, clock):
    client.inject_error("get", errors.service_unavailable("starting"), times=5)
    _, work, task = contend(client, clock, "one")
    for _ in range(35):
        clock.step(0.1)
        await _settle()
    assert work.running
    task.cancel()
    await _settle()


async def test_a_server_that_stays_away_is_not_pestered(client, clock, monkeypatch):
    asked = 0

    async def refuse(*_, **__):
        nonlocal asked
        asked += 1
        raise errors.service_unavailable("away")

    monkeypatch.setattr(client, "get", refuse)
    _, _, task = contend(client, clock, "one")
    for _ in range(600):
        clock.step(0.1)
        await _settle()
    before = asked
    for _ in range(600):
        clock.step(0.1)
        await _settle()
    assert 12 <= asked - before <= 30  # once in 2 s to 4.4 s, for a minute
    task.cancel()
    await _settle()


async def test_a_second_waits_and_takes_over_what_is_released(client, clock):
    _, _, first = contend(client, clock, "one")
    await _settle()
    elector, work, second = contend(client, clock, "two")
    await _pass(clock, 60)
    assert not work.running
    assert elector.leader == "one"
    first.cancel()
    await _settle()
    lease = await client.get(LEASES, "kube-system", "test")
    assert lease.spec.holderIdentity == ""
    await _pass(clock, 5)
    assert work.running
    lease = await client.get(LEASES, "kube-system", "test")
    assert lease.spec.leaseTransitions == 1
    second.cancel()
    await _settle()


async def test_a_dead_leaders_lease_runs_out(client, clock):
    _, _, first = contend(client, clock, "one")
    await _settle()
    _, work, second = contend(client, clock, "two")
    await _settle()
    client.inject_error("update", errors.service_unavailable("dead"), times=10**3)
    first.cancel()
    await _settle()
    client._errors.clear()
    await _pass(clock, 13)
    assert not work.running
    await _pass(clock, 8)
    assert work.running
    second.cancel()
    await _settle()


async def test_whoever_cannot_renew_stops_working_before_another_may_start(client, clock):
    elector, work, task = contend(client, clock, "one")
    await _settle()
    down = errors.service_unavailable("down")
    client.inject_error("update", down, times=10**3)
    await _pass(clock, 7)
    assert work.running
    await _pass(clock, 6)
    assert not work.running
    assert not elector.is_leader
    with pytest.raises(LostLeadershipError):
        await task


async def test_a_call_that_hangs_counts_as_failed(client, clock, monkeypatch):
    _, work, task = contend(client, clock, "one")
    await _settle()

    async def hang(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr(client, "update", hang)
    await _pass(clock, 14)
    assert not work.running
    with pytest.raises(LostLeadershipError):
        await task


async def test_a_stale_copy_is_read_anew(client, clock):
    _, work, task = contend(client, clock, "one")
    await _settle()
    lease = await client.get(LEASES, "kube-system", "test")
    lease.metadata.labels["touched"] = "yes"
    await client.update(LEASES, lease)
    await _pass(clock, 30)
    assert work.running
    task.cancel()
    await _settle()


async def test_what_the_work_raises_comes_out_and_the_lease_is_released(client, clock):
    async def fail():
        raise RuntimeError("broken")

    lock = LeaseLock("kube-system", "test", "one")
    elector = LeaderElector(client, lock, clock=clock, rng=random.Random(1))
    with pytest.raises(RuntimeError, match="broken"):
        await elector.run(fail)
    lease = await client.get(LEASES, "kube-system", "test")
    assert lease.spec.holderIdentity == ""


@pytest.mark.parametrize(
    "times", [(10, 10, 2), (15, 2, 2), (15, 2.4, 2)], ids=["lease", "retry", "jitter"]
)
def test_times_that_cannot_work_are_refused(times):
    with pytest.raises(ValueError, match="leader election"):
        LeaseLock("ns", "n", "me", *times)
