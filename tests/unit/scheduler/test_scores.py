"""Tables for scoring by resources and images, and for node ports."""

import pytest

from scheduler.framework.cycle_state import CycleState
from scheduler.node_info import NodeInfo, PodInfo
from scheduler.plugins import args
from scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from scheduler.plugins.node_resources_fit import NodeResourcesFit
from scheduler.plugins.resource_scores import requested_to_capacity_ratio
from tests.support.scheduling import Cluster, node, pod

MIB = 1024 * 1024


def info(a_node, *pods):
    built = NodeInfo(a_node.metadata.name)
    built.set_node(a_node)
    for one in pods:
        built.add(PodInfo(one))
    return built


def fit(strategy):
    return NodeResourcesFit(**args.fit({"scoringStrategy": strategy}))


CPU_MEMORY = [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}]


@pytest.mark.parametrize(
    ("strategy", "requests", "used", "score"),
    [
        pytest.param({}, {"cpu": "1", "memory": "2Gi"}, None, 75, id="least, empty"),
        pytest.param(
            {
                "type": "LeastAllocated",
                "resources": [{"name": "cpu", "weight": 3}, {"name": "memory", "weight": 1}],
            },
            {"cpu": "2", "memory": "2Gi"},
            None,
            56,
            id="least, weights",
        ),
        pytest.param(
            {"type": "MostAllocated"}, {"cpu": "1", "memory": "2Gi"}, None, 25, id="most, empty"
        ),
        pytest.param(
            {"type": "MostAllocated"},
            {"cpu": "3", "memory": "4Gi"},
            {"cpu": "2", "memory": "2Gi"},
            87,
            id="most, over-requested counts full",
        ),
        pytest.param(
            {"type": "LeastAllocated"},
            {"cpu": "3", "memory": "4Gi"},
            {"cpu": "2", "memory": "2Gi"},
            12,
            id="least, over-requested counts none",
        ),
        pytest.param(
            {"type": "MostAllocated", "resources": [{"name": "example.com/gpu", "weight": 1}]},
            {"cpu": "1"},
            None,
            0,
            id="an extended resource it does not ask for",
        ),
        pytest.param(
            {"type": "MostAllocated", "resources": [{"name": "example.com/gpu", "weight": 1}]},
            {"example.com/gpu": "2"},
            None,
            25,
            id="extended",
        ),
    ],
)
def test_fit_strategies(strategy, requests, used, score):
    pods = [pod("other", requests=used)] if used else []
    a_node = info(node(allocatable={"example.com/gpu": "8"}), *pods)
    a_pod = PodInfo(pod(requests=requests))
    assert fit(strategy).score(CycleState(), a_pod, a_node) == score


@pytest.mark.parametrize(
    ("shape", "used", "score"),
    [
        ([(0, 0), (100, 10)], 0, 0),
        ([(0, 0), (100, 10)], 50, 50),
        ([(0, 0), (100, 10)], 100, 100),
        ([(0, 10), (100, 0)], 30, 70),
        ([(40, 10), (60, 0)], 20, 100),
        ([(40, 10), (60, 0)], 55, 25),
        ([(40, 10), (60, 0)], 90, 0),
        ([(0, 0), (100, 10)], 120, 100),
    ],
)
def test_requested_to_capacity_ratio_follows_its_shape(shape, used, score):
    assert requested_to_capacity_ratio(shape)([used], [100], [1]) == score


def test_requested_to_capacity_ratio_leaves_zero_scores_out_and_rounds_half_up():
    scorer = requested_to_capacity_ratio([(0, 0), (100, 10)])
    assert scorer([0, 50], [100, 100], [1, 1]) == 50
    assert scorer([51, 50], [100, 100], [1, 1]) == 51


@pytest.mark.parametrize(
    ("requests", "used", "score"),
    [
        pytest.param({"cpu": "2", "memory": "4Gi"}, {}, 100, id="in proportion"),
        pytest.param({"cpu": "4", "memory": "0"}, {}, 50, id="only cpu"),
        pytest.param({"cpu": "1", "memory": "4Gi"}, {}, 87, id="a quarter and a half"),
        pytest.param({"cpu": "1"}, {"memory": "2Gi"}, 100, id="balances what is there"),
        pytest.param({}, {"cpu": "3"}, 62, id="requests without defaults"),
    ],
)
def test_balanced_allocation(requests, used, score):
    plugin = NodeResourcesBalancedAllocation()
    a_node = info(node(), pod("other", requests=used))
    assert plugin.score(CycleState(), PodInfo(pod(requests=requests)), a_node) == score


@pytest.mark.parametrize(
    ("images", "holders", "score"),
    [
        pytest.param(["x/a:1"], {"n0": {"x/a:1": 40 * MIB}}, 0, id="half of 40 MiB is below 23"),
        pytest.param(["x/a:1"], {"n0": {"x/a:1": 250 * MIB}}, 10, id="250 MiB on one of two"),
        pytest.param(["x/a"], {"n0": {"x/a:latest": 250 * MIB}}, 10, id="latest"),
        pytest.param(
            ["x/a:1"],
            {"n0": {"x/a:1": 250 * MIB}, "n1": {"x/a:1": 250 * MIB}},
            23,
            id="250 MiB everywhere",
        ),
        pytest.param(["x/a:1"], {"n0": {"x/a:1": 9000 * MIB}}, 100, id="most"),
        pytest.param(["x/a:1", "x/b:1"], {"n0": {"x/a:1": 2000 * MIB}}, 49, id="two containers"),
        pytest.param(["x/a:1"], {}, 0, id="absent"),
    ],
)
def test_image_locality(images, holders, score):
    nodes = [node(name, images=holders.get(name)) for name in ("n0", "n1")]
    a_pod = pod(containers=[{"name": f"c{i}", "image": image} for i, image in enumerate(images)])
    assert Cluster(nodes).scores(a_pod, "ImageLocality")["n0"] == score


def ports(*wanted):
    """hostPort, or (hostIP, hostPort, protocol)."""
    listed = [w if isinstance(w, tuple) else ("", w, "TCP") for w in wanted]
    return [
        {
            "name": "c",
            "ports": [{"hostIP": ip, "hostPort": port, "protocol": p} for ip, port, p in listed],
        }
    ]


@pytest.mark.parametrize(
    ("wanted", "taken", "fits"),
    [
        ([], [8080], True),
        ([8080], [9090], True),
        ([8080], [8080], False),
        ([("", 8080, "UDP")], [8080], True),
        ([("127.0.0.1", 8080, "TCP")], [("127.0.0.2", 8080, "TCP")], True),
        ([("127.0.0.1", 8080, "TCP")], [8080], False),
        ([("0.0.0.0", 8080, "TCP")], [("127.0.0.1", 8080, "TCP")], False),
        ([8001, 8080], [8080], False),
    ],
)
def test_node_ports(wanted, taken, fits):
    cluster = Cluster([node()], [pod("other", node="n", containers=ports(*taken))])
    decision = cluster.decide(pod(containers=ports(*wanted)))
    assert bool(decision.node_name) is fits
    if not fits:
        assert "node(s) didn't have free ports for the requested pod ports" in str(
            decision.fit_error
        )
