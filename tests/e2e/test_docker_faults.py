"""Faults on a cluster of containers, each with the time by which it must have converged.

Grace period 20 s, tolerationSeconds 5 (examples/spread.yaml). Which node is hit follows from the
seed, which failures print. All the while, no Pod's containers may be seen on two nodes.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from podpath.cli import cluster_nodes
from podpath.cli.cluster_plan import ClusterPlan
from tests.support.docker_cluster import REPLICAS, SPREAD, docker_cluster, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SEED = 5
GRACE_S = 20.0
PERIOD_S = 5.0  # between two looks of the node life cycle controller
TOLERATION_S = 5.0
UNKNOWN_MAX_S = GRACE_S + PERIOD_S + 10.0
REPLACED_MAX_S = UNKNOWN_MAX_S + TOLERATION_S + 10.0
BACK_MAX_S = 45.0


class Witness:
    """Where each Pod's containers were ever seen: what has a UID belongs to one node for good."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._node_of: dict[str, str] = {}

    def look(self):
        for node in self._cluster.cluster.nodes():
            if node.state != "running":
                continue
            uids = list(self._cluster.containers(node.name).values())
            assert len(set(uids)) == len(uids), f"a Pod runs twice on {node.name}: {uids}"
            for uid in uids:
                first = self._node_of.setdefault(uid, node.name)
                assert first == node.name, f"{uid} was on {first} and is on {node.name}"

    def wait_until(self, look, limit_s, what):
        def watched():
            self.look()
            return look()

        return wait_until(watched, limit_s, what)


@pytest.fixture(scope="module")
def witness(cluster):
    return Witness(cluster)


@pytest.fixture(scope="module")
def cluster():
    plan = ClusterPlan("faults", 3, environment={"NODE_MONITOR_GRACE_PERIOD": f"{GRACE_S:g}s"})
    with docker_cluster(plan) as made:
        made.kubectl("apply", "-f", str(SPREAD))
        yield made


@pytest.fixture(autouse=True)
def shown_on_failure(cluster):
    """The state as it was at the end of each test; pytest prints it when the test failed."""
    yield
    print(cluster.kubectl("get", "nodes,pods", "-o", "wide", check=False))


@pytest.fixture
def victim(cluster, request):
    """A node that has Pods; all six are Ready before and, once the fault is over, after."""
    whole(cluster)
    rng = random.Random(f"{SEED} {request.node.name}")
    node = rng.choice(sorted({p["spec"]["nodeName"] for p in cluster.ready_pods()}))
    print(f"seed {SEED}: {node}")
    return node


def whole(cluster):
    wait_until(
        lambda: all(cluster.is_ready(n.name) for n in cluster.cluster.nodes()),
        BACK_MAX_S,
        "all nodes Ready",
    )
    wait_until(lambda: len(cluster.ready_pods()) == REPLICAS, 60, "all Pods Ready")


def is_unknown(cluster, node):
    [found] = [n for n in cluster.items("nodes") if n["metadata"]["name"] == node]
    [ready] = [c for c in found["status"]["conditions"] if c["type"] == "Ready"]
    return ready["status"] == "Unknown"


def replaced(cluster, witness, node):
    waited_s = witness.wait_until(
        lambda: is_unknown(cluster, node), UNKNOWN_MAX_S, f"{node} Unknown"
    )
    witness.wait_until(
        lambda: len(cluster.ready_pods(not_on=node)) == REPLICAS,
        REPLACED_MAX_S - waited_s,
        f"Pods of {node} replaced",
    )


def settled(cluster, witness, node):
    """The node is Ready again and runs nothing but the Pods that it should."""
    witness.wait_until(lambda: cluster.is_ready(node), BACK_MAX_S, f"{node} Ready again")

    def only_its_own():
        wanted = {p["metadata"]["uid"] for p in cluster.pods() if p["spec"]["nodeName"] == node}
        return set(cluster.containers(node).values()) == wanted

    witness.wait_until(only_its_own, BACK_MAX_S, f"{node} has only its own containers")


def test_a_killed_node_loses_its_pods_and_comes_back(cluster, witness, victim):
    cluster_nodes.stop(cluster.cluster, victim, kill=True)
    replaced(cluster, witness, victim)
    cluster_nodes.start(cluster.cluster, victim)
    settled(cluster, witness, victim)


def test_a_paused_node_loses_its_pods_and_comes_back(cluster, witness, victim):
    cluster_nodes.pause(cluster.cluster, victim)
    try:
        replaced(cluster, witness, victim)
    finally:
        cluster_nodes.unpause(cluster.cluster, victim)
    settled(cluster, witness, victim)


def test_a_partitioned_nodes_pods_run_elsewhere_and_its_own_end_after_healing(
    cluster, witness, victim
):
    before = cluster.containers(victim)
    assert before
    cluster_nodes.partition(cluster.cluster, victim)
    try:
        replaced(cluster, witness, victim)
        # It cannot be told to stop them: they still run there, under other uids than the new ones.
        assert cluster.containers(victim) == before
    finally:
        cluster_nodes.heal(cluster.cluster, victim)
    settled(cluster, witness, victim)
    assert not set(cluster.containers(victim)) & set(before)


def test_containers_do_not_restart_when_the_control_plane_does(cluster):
    whole(cluster)
    before = everywhere(cluster)
    objects = {p["metadata"]["uid"] for p in cluster.pods()}
    cluster_nodes.stop(cluster.cluster, "control-plane")
    assert everywhere(cluster) == before
    cluster_nodes.start(cluster.cluster, "control-plane")
    wait_until(
        lambda: {p["metadata"]["uid"] for p in cluster.pods()} == objects, 30, "API server back"
    )
    whole(cluster)
    assert everywhere(cluster) == before


def everywhere(cluster):
    return {node.name: cluster.containers(node.name) for node in cluster.cluster.nodes()}


def test_no_acknowledged_object_is_lost_when_etcd_is_killed(cluster):
    whole(cluster)
    before = everywhere(cluster)
    stored = []
    kill = ("exec", cluster.cluster.control_plane, "sh", "-c", "kill -9 $(pgrep -x etcd)")
    for round_number in range(3):
        with ThreadPoolExecutor(1) as killer:
            for i in range(10):
                if i == 5:  # in the midst of writes, not between two of them
                    killed = killer.submit(cluster.engine.run, *kill)
                name = f"kept-{round_number}-{i}"
                if "created" in cluster.kubectl("create", "configmap", name, check=False):
                    stored.append(name)
        killed.result()
    assert len(stored) >= 15

    def all_there():
        found = {c["metadata"]["name"] for c in cluster.items("configmaps")}
        return set(stored) <= found

    wait_until(all_there, 45, f"{len(stored)} acknowledged objects after etcd was killed")
    whole(cluster)
    assert everywhere(cluster) == before


def test_the_runtime_of_one_node_is_swapped_and_the_others_are_not_touched(cluster, victim):
    others = [n.name for n in cluster.cluster.nodes() if n.name != victim]
    before = {name: cluster.containers(name) for name in others}
    for runtime in ("fake", "nerdctl"):
        cluster_nodes.set_runtime(cluster.cluster, victim, runtime)

        def swapped(runtime=runtime):
            [node] = [n for n in cluster.items("nodes") if n["metadata"]["name"] == victim]
            version = node["status"]["nodeInfo"]["containerRuntimeVersion"]
            return runtime in version and cluster.is_ready(victim)

        wait_until(swapped, BACK_MAX_S, f"{victim} on {runtime}")
        # If it takes longer than its Pods tolerate, others get those, too; theirs run on.
        for name in others:
            assert before[name].items() <= cluster.containers(name).items()
    wait_until(lambda: len(cluster.ready_pods()) == REPLICAS, 60, "all Pods Ready")
    assert cluster.containers(victim), "real containers again"
