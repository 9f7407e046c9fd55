"""DefaultPreemption: who has to go, where that hurts least, and what is said when nobody can."""

import pytest

from podpath.api import scheme
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget
from scheduler.pod_info import PodInfo
from tests.support.scheduling import Cluster, node, pod


def budget(labels, allowed, name="b"):
    built = PodDisruptionBudget(metadata={"name": name, "namespace": "default"})
    built.spec.selector.matchLabels.update(labels)
    built.status.disruptionsAllowed = allowed
    return (scheme.PODDISRUPTIONBUDGETS, built)


def low(name, on, cpu="2", priority=0, labels=None, started=None):
    built = pod(name, node=on, requests={"cpu": cpu}, priority=priority, labels=labels)
    if started is not None:
        built.status.startTime.seconds = started
    return built


def victims(decision):
    return sorted(victim.key[1] for victim in decision.post_filter.victims)


HIGH = pod("high", requests={"cpu": "3"}, priority=100)


@pytest.mark.parametrize(
    ("placed", "budgets", "chosen", "gone"),
    [
        pytest.param(
            [low("a", "n0"), low("b", "n0"), low("c", "n1", "4")],
            [],
            "n1",
            ["c"],
            id="fewer victims",
        ),
        pytest.param(
            [low("a", "n0", "4", priority=5), low("c", "n1", "4", priority=3)],
            [],
            "n1",
            ["c"],
            id="lower priority",
        ),
        pytest.param(
            [low("a", "n0", "4", labels={"app": "x"}), low("b", "n1"), low("c", "n1")],
            [budget({"app": "x"}, 0)],
            "n1",
            ["b", "c"],
            id="a budget is spared before anything else",
        ),
        pytest.param(
            [low("a", "n0", "4", labels={"app": "x"}), low("b", "n1"), low("c", "n1")],
            [budget({"app": "x"}, 1)],
            "n0",
            ["a"],
            id="a budget that allows it",
        ),
        pytest.param(
            [low("a", "n0", "4", started=100), low("c", "n1", "4", started=200)],
            [],
            "n1",
            ["c"],
            id="who started last",
        ),
        pytest.param(
            [low("a", "n0", "1"), low("b", "n0", "3"), low("c", "n1", "4", priority=200)],
            [],
            "n0",
            ["b"],
            id="those that still fit are spared",
        ),
        pytest.param(
            [low("a", "n0", "1", priority=9), low("b", "n0", "1", priority=1), low("d", "n0", "2")],
            [],
            "n0",
            ["b", "d"],
            id="the more important are spared first",
        ),
    ],
)
def test_the_node_where_it_hurts_least(placed, budgets, chosen, gone):
    names = {p.spec.nodeName for p in placed}
    decision = Cluster([node(n) for n in sorted(names)], placed, budgets).decide(HIGH)
    assert decision.post_filter.nominated == chosen
    assert victims(decision) == gone
    assert "preemption" not in str(decision.fit_error)


@pytest.mark.parametrize(
    ("nodes", "placed", "a_pod", "message"),
    [
        pytest.param(
            [node("n0"), node("n1", unschedulable=True)],
            [low("a", "n0", priority=200)],
            HIGH,
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. "
            "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
            "1 Preemption is not helpful for scheduling.",
            id="nobody of lower priority",
        ),
        pytest.param(
            [node("n0")],
            [low("a", "n0", "1"), low("b", "n0", "2", priority=200)],
            HIGH,
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 Insufficient cpu.",
            id="not enough even without them",
        ),
        pytest.param(
            [node("n0")],
            [low("a", "n0")],
            pod("meek", requests={"cpu": "3"}, priority=100, preemptionPolicy="Never"),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to "
            "preemptionPolicy=Never.",
            id="policy Never",
        ),
        pytest.param(
            [node("n0")],
            [low("a", "n0")],
            pod("vast", requests={"cpu": "64"}, priority=100),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 Preemption is not helpful for scheduling.",
            id="never fits",
        ),
    ],
)
def test_what_is_said_when_preemption_does_not_help(nodes, placed, a_pod, message):
    decision = Cluster(nodes, placed).decide(a_pod)
    assert str(decision.fit_error) == message
    assert not decision.post_filter.nominated


def test_a_pod_whose_victims_are_still_going_waits_for_them():
    going = low("a", "n0")
    going.metadata.deletionTimestamp.seconds = 1
    going.status.conditions.add(
        type="DisruptionTarget", status="True", reason="PreemptionByScheduler"
    )
    again = pod("again", requests={"cpu": "3"}, priority=100)
    again.status.nominatedNodeName = "n0"
    decision = Cluster([node("n0")], [going]).decide(again)
    assert str(decision.fit_error).endswith(
        "preemption: not eligible due to a terminating pod on the nominated node."
    )
    assert decision.post_filter.nominated is None


def test_affinity_to_a_victim_keeps_it():
    affinity = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"app": "friend"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
    placed = [low("friend", "n0", "1", labels={"app": "friend"}), low("other", "n0", "3")]
    loyal = pod("loyal", requests={"cpu": "3"}, priority=100, affinity=affinity)
    assert not Cluster([node("n0")], placed).decide(loyal).post_filter.victims


def test_a_nominated_node_is_kept_for_its_pod():
    cluster = Cluster([node("n0"), node("n1", allocatable={"cpu": "1"})])
    cluster.handle.nominator.add(PodInfo(HIGH), "n0")
    rival = pod("rival", requests={"cpu": "2"}, priority=10)
    assert cluster.decide(rival).fit_error is not None
    stronger = pod("stronger", requests={"cpu": "2"}, priority=1000)
    assert cluster.decide(stronger).node_name == "n0"
    assert cluster.decide(HIGH).node_name == "n0"


@pytest.mark.parametrize(
    ("nodes", "wanted"), [(1, 1), (50, 50), (100, 100), (500, 100), (2000, 200)]
)
def test_how_many_candidates_are_enough(nodes, wanted):
    plugin = Cluster().framework._post_filter[0]
    assert plugin.candidates_wanted(nodes) == wanted
