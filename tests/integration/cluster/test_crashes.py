"""kill -9 of each process in turn during a rollout: everything converges, nothing is lost."""

import threading
from collections import Counter

import pytest

from tests.support.cluster import Cluster, running_cluster, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.kubectl, pytest.mark.slow]

REPLICAS = 50
VICTIMS = ("etcd", "apiserver", "scheduler", "node-1-kubelet", "node-1-shim", "controllers")


@pytest.fixture
def cluster():
    with running_cluster("fake", nodes=2) as running:
        yield running


class Writer(threading.Thread):
    """Creates ConfigMaps without pause and remembers which creations were acknowledged."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        super().__init__()
        self._cluster = cluster
        self._prefix = prefix
        self._finished = threading.Event()
        self.acknowledged: list[str] = []

    def run(self) -> None:
        count = 0
        while not self._finished.is_set():
            name = f"{self._prefix}-{count}"
            count += 1
            if "created" in self._cluster.kubectl("create", "configmap", name, check=False):
                self.acknowledged.append(name)

    def finish(self) -> list[str]:
        self._finished.set()
        self.join()
        return self.acknowledged


def running_pods(cluster, name):
    return [
        pod
        for pod in cluster.items("pods", "-l", f"app={name}")
        if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_rollout_survives(cluster, victim):
    name = f"r-{victim}"
    writer = Writer(cluster, name)
    writer.start()
    try:
        cluster.kubectl("create", "deployment", name, "--image=podpath/busybox:1.35",
                        f"--replicas={REPLICAS}")  # fmt: skip
        wait_until(lambda: len(running_pods(cluster, name)) >= 3, 90, "the first Pods")
        cluster.kill(victim)
        cluster.resume()
    finally:
        acknowledged = writer.finish()
    wait_until(lambda: len(running_pods(cluster, name)) == REPLICAS, 90, "all Pods Running")

    stored = {c["metadata"]["name"] for c in cluster.items("configmaps")}
    assert [n for n in acknowledged if n not in stored] == []
    assert acknowledged

    uids = {p["metadata"]["uid"] for p in cluster.items("pods", "-l", f"app={name}")}
    owners = Counter(c.labels["io.kubernetes.pod.uid"] for c in cluster.containers())
    assert {uid: owners[uid] for uid in uids if owners[uid] != 1} == {}
    assert set(owners) <= uids

    cluster.kubectl("delete", "deployment", name)
    wait_until(lambda: not cluster.items("pods", "-l", f"app={name}"), 90, "the Pods to go")
    wait_until(lambda: not cluster.containers(), 90, "the containers to go")
