import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from podpath.api import scheme
from podpath.component_base.clock import FakeClock
from protos.k8s.core_v1_pb2 import Pod
from scheduler.framework.events import Action, ClusterEvent, Registration
from scheduler.framework.status import SUCCESS, unresolvable
from scheduler.plugins.priority_sort import PrioritySort
from scheduler.plugins.scheduling_gates import SchedulingGates
from scheduler.queue import BACKOFF_MAX_S, UNSCHEDULABLE_MAX_S, SchedulingQueue

FIT = frozenset(("NodeResourcesFit",))


def pod(name, priority=0, gates=()):
    built = Pod()
    built.metadata.name = name
    built.metadata.uid = name
    built.spec.priority = priority
    for gate in gates:
        built.spec.schedulingGates.add(name=gate)
    return built


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def queue(clock):
    return SchedulingQueue(
        clock, PrioritySort().sort_key, SchedulingGates().pre_enqueue, interests=interests
    )


async def names(queue, limit=10):
    return [q.uid for q in await asyncio.wait_for(queue.pop(limit), 30)]


async def settle():
    """Lets every task run until it waits for something."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_priority_then_age(queue, clock):
    queue.add(pod("old"))
    clock.step(1)
    queue.add(pod("young"))
    queue.add(pod("urgent", priority=10))
    assert await names(queue) == ["urgent", "old", "young"]


def interests(_pod):
    """Fit is helped by new nodes, NodeAffinity by changed labels."""
    return {
        "NodeResourcesFit": [Registration(scheme.NODES, Action.ADD)],
        "NodeAffinity": [Registration(scheme.NODES, Action.NODE_LABELS)],
        "SchedulingGates": [],
    }


NODE_ADDED = ClusterEvent(scheme.NODES, Action.ADD, None, None)
LABELS_CHANGED = ClusterEvent(scheme.NODES, Action.NODE_LABELS, None, None)


async def test_an_unschedulable_pod_waits_for_a_change_that_helps_then_backs_off(queue, clock):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.requeue(queued, FIT)
    queue.move(LABELS_CHANGED)
    assert queue.counts()["unschedulable"] == 1
    queue.move(NODE_ADDED)
    assert queue.counts()["backoff"] == 1
    popping = asyncio.ensure_future(queue.pop(1))
    await settle()
    clock.step(0.9)
    await settle()
    assert not popping.done()
    clock.step(0.2)
    assert [q.uid for q in await asyncio.wait_for(popping, 30)] == ["p"]


async def test_a_change_while_the_pod_is_decided_is_not_missed(queue):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.move(NODE_ADDED)
    queue.requeue(queued, FIT)
    assert queue.counts() == {"active": 0, "backoff": 1, "unschedulable": 0, "gated": 0}


async def test_backoff_doubles_up_to_ten_seconds(queue):
    assert [queue.backoff_s(n) for n in (1, 2, 3, 4, 5, 9)] == [1, 2, 4, 8, 10, 10]


async def test_a_pod_deleted_while_it_is_decided_does_not_come_back(queue):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.delete("p")
    queue.requeue(queued, FIT)
    assert len(queue) == 0


async def test_five_minutes_are_enough(queue, clock):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.requeue(queued, FIT)
    clock.step(299)
    queue.flush_unschedulable()
    assert queue.counts()["unschedulable"] == 1
    clock.step(2)
    queue.flush_unschedulable()
    assert queue.counts()["active"] == 1


async def test_a_gated_pod_enters_when_its_gates_are_gone(queue):
    queue.add(pod("p", gates=["wait"]))
    assert queue.counts()["gated"] == 1
    queue.update(pod("p"))
    assert await names(queue) == ["p"]


async def test_only_an_event_that_helps_counts_while_the_pod_is_decided(queue):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.move(LABELS_CHANGED)
    queue.requeue(queued, FIT)
    assert queue.counts()["unschedulable"] == 1


async def test_events_are_kept_only_for_pods_in_flight(queue):
    for name in ("p", "q"):
        queue.add(pod(name))
    first, second = await queue.pop(2)
    for _ in range(100):
        queue.move(LABELS_CHANGED)
    queue.done(first.uid)
    assert queue._in_flight.event_count == 100  # the other is still being decided
    queue.done(second.uid)
    assert queue._in_flight.event_count == 0
    queue.move(LABELS_CHANGED)
    assert queue._in_flight.event_count == 0


async def test_whose_back_off_is_over_goes_to_active_at_once(queue, clock):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.requeue(queued, FIT)
    clock.step(5)
    queue.move(NODE_ADDED)
    assert queue.counts()["active"] == 1


async def test_a_pod_changed_while_it_is_decided_comes_back_changed(queue):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.update(pod("p", priority=7))
    queue.requeue(queued, frozenset())
    assert queued.info.priority == 7


async def test_what_gated_a_pod_is_checked_again(queue):
    running = {"p"}
    queue._pre_enqueue = lambda info: unresolvable("P", "wait") if info.uid in running else SUCCESS
    queue.add(pod("p"))
    assert queue.counts()["gated"] == 1
    running.clear()
    queue.recheck("p")
    assert queue.counts()["active"] == 1


async def test_a_status_update_does_not_wake_an_unschedulable_pod(queue):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.requeue(queued, FIT)
    told = pod("p")
    told.status.conditions.add(type="PodScheduled", status="False")
    queue.update(told)
    assert queue.counts()["unschedulable"] == 1
    changed = pod("p")
    changed.metadata.labels["a"] = "b"
    queue.update(changed)
    assert queue.counts()["unschedulable"] == 1


class QueueMachine(RuleBasedStateMachine):
    """Whatever happens, a Pod is in exactly one place, none is lost, all come out in the end."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        gate = unresolvable("SchedulingGates", "gated")
        self.queue = SchedulingQueue(
            self.clock,
            PrioritySort().sort_key,
            lambda info: gate if info.pod.spec.schedulingGates else SUCCESS,
            interests=interests,
        )
        self.known: set[str] = set()
        self.deciding: dict[str, object] = {}

    uids = st.sampled_from([f"p{i}" for i in range(6)])

    @rule(uid=uids, priority=st.integers(0, 2), gated=st.booleans())
    def add_or_update(self, uid, priority, gated):
        built = pod(uid, priority, ["g"] if gated else [])
        if uid in self.known:
            self.queue.update(built)
        else:
            self.queue.add(built)
            self.known.add(uid)

    @rule(uid=uids)
    def delete(self, uid):
        self.queue.delete(uid)
        self.known.discard(uid)
        self.deciding.pop(uid, None)

    @rule(limit=st.integers(1, 3))
    def pop(self, limit):
        self.queue.flush_backoff()
        for queued in self.queue._take(limit):
            assert queued.uid in self.known
            assert queued.uid not in self.deciding
            self.deciding[queued.uid] = queued

    @rule(uid=uids, helped=st.booleans())
    def reject(self, uid, helped):
        queued = self.deciding.pop(uid, None)
        if queued is not None:
            self.queue.requeue(queued, FIT if helped else frozenset())

    @rule(uid=uids)
    def bound(self, uid):
        if self.deciding.pop(uid, None) is not None:
            self.queue.done(uid)
            self.known.discard(uid)

    @rule(seconds=st.floats(0, 400))
    def time_passes(self, seconds):
        self.clock.step(seconds)
        self.queue.flush_unschedulable()

    @rule()
    def something_changes(self):
        self.queue.move(NODE_ADDED)

    @invariant()
    def nothing_is_lost_or_doubled(self):
        waiting = set(self.queue._members)
        assert waiting | set(self.deciding) == self.known
        assert not waiting & set(self.deciding)

    def teardown(self):
        for queued in self.deciding.values():
            self.queue.requeue(queued, FIT)
        self.clock.step(UNSCHEDULABLE_MAX_S + 1)
        self.queue.flush_unschedulable()
        self.clock.step(BACKOFF_MAX_S)
        self.queue.flush_backoff()
        gated = {uid for uid in self.known if self.queue._place.get(uid) == "gated"}
        assert {queued.uid for queued in self.queue._take(100)} == self.known - gated
        self.loop.close()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


async def test_other_gates_open_with_the_events_of_their_plugin(queue):
    queue._pre_enqueue = lambda info: unresolvable("NodeAffinity", "not yet")
    queue.add(pod("p"))
    queue._pre_enqueue = SchedulingGates().pre_enqueue
    queue.move(NODE_ADDED)
    assert queue.counts()["gated"] == 1
    queue.move(LABELS_CHANGED)
    assert queue.counts()["active"] == 1


async def test_who_only_waited_for_something_needs_no_back_off(queue):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.requeue(queued, FIT, pending=frozenset(("NodeAffinity",)))
    queue.move(LABELS_CHANGED)
    assert queue.counts()["active"] == 1


async def test_a_retry_takes_a_pod_from_wherever_it_waits(queue, clock):
    queue.add(pod("p"))
    (queued,) = await queue.pop(1)
    queue.retry("p")  # in flight: it counts when the Pod comes back
    queue.requeue(queued, FIT)
    assert queue.counts()["backoff"] == 1
    clock.step(1)
    (queued,) = await queue.pop(1)
    queue.requeue(queued, FIT)
    assert queue.counts()["unschedulable"] == 1
    queue.retry("p")
    assert queue.counts()["backoff"] == 1


async def test_what_changed_of_a_pod_in_flight_concerns_it_alone(queue):
    for name in ("p", "q"):
        queue.add(pod(name))
    queued = {q.uid: q for q in await queue.pop(2)}
    changed = pod("p")
    changed.spec.tolerations.add(key="k")
    queue.update(changed)
    mine = [Registration(scheme.PODS, Action.POD_TOLERATIONS)]
    queue._interests = lambda _pod: {"NodeResourcesFit": mine}
    for one in queued.values():
        queue.requeue(one, FIT)
    assert queue.counts() == {"active": 0, "backoff": 1, "unschedulable": 1, "gated": 0}
    assert queue._place["p"] == "backoff"
