import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from podpath.client.workqueue import RateLimiter, ShutDownError, WorkQueue
from podpath.component_base.clock import FakeClock


async def _settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_key_waits_once():
    queue = WorkQueue(FakeClock())
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_a_key_added_while_processing_comes_again_after_done():
    queue = WorkQueue(FakeClock())
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_worker_is_woken():
    queue = WorkQueue(FakeClock())
    worker = asyncio.ensure_future(queue.get())
    await _settle()
    queue.add("a")
    assert await worker == "a"


async def test_a_cancelled_waiter_passes_its_key_on():
    queue = WorkQueue(FakeClock())
    first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await _settle()
    queue.add("a")
    first.cancel()
    await _settle()
    assert await second == "a"


async def test_delayed_keys_come_in_the_order_of_their_times():
    clock = FakeClock()
    queue = WorkQueue(clock)
    runner = asyncio.ensure_future(queue.run())
    queue.add_after("late", 10)
    await _settle()
    queue.add_after("early", 5)
    queue.add_after("late", 20)  # The nearer time counts.
    await _settle()
    assert len(queue) == 0
    clock.step(5)
    await _settle()
    assert await queue.get() == "early"
    clock.step(5)
    await _settle()
    assert await queue.get() == "late"
    clock.step(100)
    await _settle()
    assert len(queue) == 0
    runner.cancel()


async def test_a_nearer_time_replaces_a_later_one():
    clock = FakeClock()
    queue = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add_after("a", 1)
    clock.step(1)
    queue.release_due()
    assert await queue.get() == "a"
    queue.done("a")
    clock.step(100)
    queue.release_due()
    assert len(queue) == 0


async def test_shut_down_hands_out_what_waits_and_then_ends():
    queue = WorkQueue(FakeClock())
    queue.add("a")
    queue.add_after("never", 1)
    queue.shut_down()
    queue.add("too late")
    assert await queue.get() == "a"
    with pytest.raises(ShutDownError):
        await queue.get()


async def test_shut_down_wakes_workers():
    queue = WorkQueue(FakeClock())
    worker = asyncio.ensure_future(queue.get())
    await _settle()
    queue.shut_down()
    with pytest.raises(ShutDownError):
        await worker


def test_back_off_doubles_up_to_its_limit_and_starts_again():
    limiter = RateLimiter(FakeClock(), rate=1e9)
    assert [limiter.when("a") for _ in range(3)] == [0.005, 0.01, 0.02]
    for _ in range(100):
        last = limiter.when("a")
    assert last == 1000.0
    assert limiter.retries("a") == 103
    limiter.forget("a")
    assert limiter.when("a") == 0.005


def test_the_overall_bucket_binds_after_its_burst():
    clock = FakeClock()
    limiter = RateLimiter(clock, base_delay_s=0.0, rate=10, burst=3)
    assert [round(limiter.when(n), 3) for n in range(5)] == [0, 0, 0, 0.1, 0.2]
    clock.step(10)
    assert limiter.when("later") == 0


class QueueMachine(RuleBasedStateMachine):
    """Against a model: what was added is handed out, and never to two at once."""

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.queue = WorkQueue(self.clock)
        self.waiting = set()
        self.processing = set()
        self.parked = {}

    keys = st.sampled_from("abcd")

    @rule(key=keys)
    def add(self, key):
        self.queue.add(key)
        self.waiting.add(key)

    @rule(key=keys, delay=st.integers(1, 20))
    def add_after(self, key, delay):
        self.queue.add_after(key, delay)
        due = self.clock.monotonic() + delay
        self.parked[key] = min(due, self.parked.get(key, due))

    @rule(seconds=st.integers(1, 10))
    def step(self, seconds):
        self.clock.step(seconds)
        self.queue.release_due()
        for key, due in list(self.parked.items()):
            if due <= self.clock.monotonic():
                del self.parked[key]
                self.waiting.add(key)

    @precondition(lambda self: self.waiting - self.processing)
    @rule()
    def get(self):
        taking = self.queue.get()
        with pytest.raises(StopIteration) as stop:
            taking.send(None)
        key = stop.value.value
        assert key in self.waiting
        assert key not in self.processing
        self.waiting.discard(key)
        self.processing.add(key)

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def done(self, data):
        key = data.draw(st.sampled_from(sorted(self.processing)))
        self.queue.done(key)
        self.processing.discard(key)

    @invariant()
    def all_that_can_be_worked_on_waits(self):
        assert len(self.queue) == len(self.waiting - self.processing)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
