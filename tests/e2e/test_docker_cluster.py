"""Clusters on containers: side by side, limited, growing, and nothing left at the end."""

import json

import pytest

from podpath.cli import cluster_images, cluster_nodes
from podpath.cli.cluster_lifecycle import Cluster
from podpath.cli.cluster_plan import ClusterPlan
from podpath.cli.layout import ClusterError
from tests.support.docker_cluster import docker_cluster, engine_or_skip, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow]


def left_of(engine, name):
    label = f"io.podpath.cluster={name}"
    kinds = ("container", "network", "volume")
    return {kind: found for kind in kinds if (found := engine.names(kind, [label]))}


def capacity(cluster, node):
    [found] = [n for n in cluster.items("nodes") if n["metadata"]["name"] == node]
    return found["status"]["capacity"]


def test_two_clusters_side_by_side_with_limited_nodes_that_come_and_go():
    red = ClusterPlan("red", 1, "fake", cpus="0.5", memory="512Mi")
    blue = ClusterPlan("blue", 1, "fake")
    with docker_cluster(red) as first, docker_cluster(blue) as second:
        engine = first.engine
        # A node offers what its container may use, not what the machine has.
        assert capacity(first, "node-1")["cpu"] == "500m"
        assert capacity(first, "node-1")["memory"] == "512Mi"
        assert capacity(second, "node-1")["cpu"] != "500m"
        # They do not see each other.
        first.kubectl("create", "configmap", "mine")
        assert "mine" not in second.kubectl("get", "configmaps", "-o", "name")
        # Nodes come and go; a name is not used twice.
        second.cluster.add_nodes(1)
        assert {n["metadata"]["name"] for n in second.items("nodes")} == {"node-1", "node-2"}
        cluster_nodes.remove(second.cluster, "node-2")
        assert {n["metadata"]["name"] for n in second.items("nodes")} == {"node-1"}
        with pytest.raises(ClusterError, match="has no node node-9; it has: node-1"):
            cluster_nodes.stop(second.cluster, "node-9")
        second.cluster.delete()
        assert left_of(engine, "blue") == {}
        assert first.is_ready("node-1")
    assert left_of(engine, "red") == {}


def test_nothing_is_left_of_a_create_that_failed(tmp_path):
    engine = engine_or_skip()
    cluster_images.ensure(engine, print)
    cluster = Cluster(engine, "broken", tmp_path, print)
    plan = ClusterPlan("broken", 2, "fake", memory="1k")  # no engine gives a container so little
    with pytest.raises(ClusterError, match=r"(?i)memory"):
        cluster.create(plan, build=False)
    assert left_of(engine, "broken") == {}
    assert list(tmp_path.rglob("kubeconfig")) == []


def test_ten_nodes_on_the_fake_runtime_and_their_memory():
    with docker_cluster(ClusterPlan("ten", 10, "fake")) as cluster:
        cluster.kubectl("create", "deployment", "many", "--image=podpath/any", "--replicas=100")
        wait_until(
            lambda: sum(p["status"]["phase"] == "Running" for p in cluster.pods()) == 100,
            60,
            "100 Pods Running on 10 nodes",
        )
        for node in cluster.cluster.nodes():
            listed = cluster.engine.run("exec", node.container, "ps", "-eo", "rss=,args=")
            rss = {
                name: next(
                    int(line.split()[0]) // 1024 for line in listed.splitlines() if name in line
                )
                for name in ("-m kubelet", "-m runtime_shim", "container_main")
            }
            print(f"{node.name}: MiB {json.dumps(rss)}")
            assert sum(rss.values()) < 400
