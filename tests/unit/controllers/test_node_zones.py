"""How fast nodes may be given up when many are silent: decisions and the limiter."""

import asyncio

import pytest

from controllers.node_tainter import NoExecuteTainter
from controllers.node_zones import (
    EvictionRates,
    RateLimiter,
    Zone,
    ZoneHealth,
    ZoneState,
    decide_disruption,
    health_of,
    zone_of,
)
from podpath.api import errors
from podpath.component_base.clock import FakeClock
from protos.k8s.core_v1_pb2 import Node

INITIAL, NORMAL, PARTIAL, FULL = ZoneState
A, B = Zone("r", "a"), Zone("r", "b")
RATES = EvictionRates()


def a_node(ready, **labels):
    node = Node()
    for key, value in labels.items():
        node.metadata.labels[f"topology.kubernetes.io/{key}"] = value
    if ready:
        node.status.conditions.add(type="Ready", status=ready)
    return node


@pytest.mark.parametrize(
    ("ready", "silent", "state"),
    [
        pytest.param(3, 0, NORMAL, id="all Ready"),
        pytest.param(0, 1, FULL, id="the only node"),
        pytest.param(0, 10, FULL, id="none Ready"),
        pytest.param(1, 2, NORMAL, id="two are never many"),
        pytest.param(2, 3, PARTIAL, id="three of five"),
        pytest.param(9, 11, PARTIAL, id="just the threshold"),
        pytest.param(10, 11, NORMAL, id="just below the threshold"),
        pytest.param(0, 0, NORMAL, id="no node"),
    ],
)
def test_state_of_a_zone(ready, silent, state):
    assert ZoneHealth(ready, silent).state(RATES.unhealthy_zone) is state


@pytest.mark.parametrize(
    ("state", "size", "rate"),
    [
        pytest.param(NORMAL, 10, 0.1, id="normal"),
        pytest.param(PARTIAL, 50, 0.0, id="a small disrupted zone: none"),
        pytest.param(PARTIAL, 51, 0.01, id="a large disrupted zone: slowly"),
        pytest.param(FULL, 10, 0.1, id="one zone lost, others not: it is that zone"),
    ],
)
def test_rate_of_a_zone(state, size, rate):
    assert RATES.of(state, size) == rate


WELL, ILL, LOST = ZoneHealth(5, 0), ZoneHealth(2, 3), ZoneHealth(0, 5)


@pytest.mark.parametrize(
    ("before", "zones", "states", "rates", "turn"),
    [
        pytest.param({}, {A: WELL}, [NORMAL], [0.1], "", id="the first look"),
        pytest.param({}, {A: LOST}, [FULL], [0.0], "all lost", id="lost at the first look"),
        pytest.param({A: NORMAL}, {A: ILL}, [PARTIAL], [0.0], "", id="disrupted"),
        pytest.param(
            {A: NORMAL, B: NORMAL}, {A: WELL, B: LOST}, [NORMAL, FULL], [0.1, 0.1], "",
            id="one lost",
        ),
        pytest.param(
            {A: NORMAL, B: FULL}, {A: LOST, B: LOST}, [FULL, FULL], [0, 0], "all lost",
            id="last lost",
        ),
        pytest.param({A: FULL}, {A: LOST}, [FULL], [0.0], "", id="still lost"),
        pytest.param({A: FULL}, {A: ILL}, [PARTIAL], [0.0], "regained", id="some are back"),
        pytest.param(
            {A: FULL, B: NORMAL}, {A: LOST}, [FULL], [0.0], "", id="the healthy zone was removed"
        ),
        pytest.param({A: FULL}, {}, [], [], "", id="no nodes"),
    ],
)  # fmt: skip
def test_disruption(before, zones, states, rates, turn):
    found = decide_disruption(before, zones, RATES)
    assert dict(found.states) == dict(zip(zones, states, strict=True))
    assert dict(found.rates) == dict(zip(zones, rates, strict=True))
    assert (found.all_lost, found.regained) == (turn == "all lost", turn == "regained")


def test_nodes_are_counted_by_zone():
    excluded = a_node("True", region="r", zone="a")
    excluded.metadata.labels["node.kubernetes.io/exclude-disruption"] = ""
    nodes = [
        a_node("True", region="r", zone="a"),
        a_node("Unknown", region="r", zone="a"),
        a_node("", region="r", zone="b"),
        excluded,
    ]
    assert health_of(nodes) == {A: ZoneHealth(1, 1), B: ZoneHealth(0, 1)}


def test_the_old_labels_name_a_zone_too():
    node = a_node("True")
    assert zone_of(node) == Zone("", "")
    node.metadata.labels["failure-domain.beta.kubernetes.io/zone"] = "old"
    assert zone_of(node) == Zone("", "old")


def test_the_limiter_saves_nothing_up():
    limiter = RateLimiter(0.1)
    assert [limiter.try_accept(now) for now in (100, 101, 109.9, 110, 110.1)] == [
        True, False, False, True, False,
    ]  # fmt: skip
    assert [limiter.try_accept(now) for now in (500, 500)] == [True, False]


@pytest.mark.parametrize(
    ("used", "rates", "free_after_s"),
    [
        pytest.param(False, [0.5], 0, id="free stays free"),
        pytest.param(True, [0.5], 2, id="who waits waits at the new rate"),
        pytest.param(True, [0.1], 10, id="the same rate changes nothing"),
        pytest.param(False, [0.0], None, id="stopped"),
        pytest.param(False, [0.0, 0.1], 10, id="going on after a stop"),
    ],
)
def test_a_limiter_with_a_new_rate(used, rates, free_after_s):
    limiter = RateLimiter(0.1)
    if used:
        assert limiter.try_accept(100)
    for rate in rates:
        limiter.set_rate(rate, 100)
    times = [100 + after for after in (0, 1, 2, 5, 10, 1000)]
    first = next((now - 100 for now in times if limiter.try_accept(now)), None)
    assert first == free_after_s


async def test_nodes_are_tainted_in_order_and_no_faster_than_their_zone_allows():
    clock = FakeClock()
    start = clock.monotonic()
    tainted = []
    refused = ["b1"]

    async def taint(node):
        if node in refused:
            refused.remove(node)
            raise errors.service_unavailable("not now")
        tainted.append((round(clock.monotonic() - start), node))

    tainter = NoExecuteTainter(taint, 0.1, clock=clock)
    run = asyncio.ensure_future(tainter.run())
    for name in ("a1", "a2", "a3", "a1"):
        tainter.add(A, name)
    tainter.add(B, "b1")
    tainter.remove("a2")
    for _ in range(300):
        await asyncio.sleep(0)
        clock.step(0.1)
        await asyncio.sleep(0)
    run.cancel()
    assert tainted == [(0, "a1"), (10, "a3"), (10, "b1")]
