"""CPU in use from a total that grows."""

from runtime_shim.cpu_rate import CpuRate

S = 1_000_000_000


def test_the_first_is_the_average_since_the_start() -> None:
    assert CpuRate().after(at=14 * S, total=2 * S, began=10 * S) == S // 2


def test_then_what_was_used_between() -> None:
    rate = CpuRate()
    rate.after(14 * S, 2 * S, 10 * S)
    assert rate.after(16 * S, 5 * S, 10 * S) == S * 3 // 2
    assert rate.after(18 * S, 5 * S, 10 * S) == 0


def test_a_short_interval_says_nothing_new() -> None:
    rate = CpuRate()
    assert rate.after(12 * S, 2 * S, 10 * S) == S
    assert rate.after(12 * S + 1, 2 * S, 10 * S) == S
    # The window goes on from the last sample that counted.
    assert rate.after(14 * S, 3 * S, 10 * S) == S // 2


def test_just_started() -> None:
    rate = CpuRate()
    assert rate.after(10 * S, 0, 10 * S) == 0
    assert rate.after(10 * S + S // 10, S // 20, 10 * S) == S // 2
    assert rate.after(12 * S, S // 5, 10 * S) == S // 10


def test_a_total_that_began_anew() -> None:
    rate = CpuRate()
    rate.after(20 * S, 10 * S, 10 * S)
    assert rate.after(30 * S, S, 25 * S) == S // 5
