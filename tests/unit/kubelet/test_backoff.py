from kubelet.backoff import Backoff
from podpath.component_base.clock import FakeClock


def test_doubles_to_five_minutes():
    backoff = Backoff(FakeClock())
    delays = []
    for _ in range(7):
        backoff.next("k")
        delays.append(backoff.get("k"))
    assert delays == [10, 20, 40, 80, 160, 300, 300]


def test_remaining_counts_from_the_failure():
    clock = FakeClock()
    backoff = Backoff(clock)
    assert backoff.remaining("k") == 0
    backoff.next("k")
    clock.step(4)
    assert backoff.remaining("k") == 6
    assert backoff.remaining_since("k", 1) == 9


def test_what_ran_for_ten_minutes_starts_anew():
    clock = FakeClock()
    backoff = Backoff(clock)
    for _ in range(5):
        backoff.next("k")
    clock.step(601)
    assert backoff.remaining_since("k", 0) == 0
    backoff.next("k")
    assert backoff.get("k") == 10


def test_forgets_a_pod():
    backoff = Backoff(FakeClock())
    backoff.next("u1_a")
    backoff.next("u2_a")
    backoff.forget_pod("u1")
    assert (backoff.get("u1_a"), backoff.get("u2_a")) == (0, 10)
