"""A whole cluster on real containers: kubelet and shim are killed, containers are not."""

import hashlib
import os
import subprocess

import pytest

from podpath.cli.up import why_no_containers
from tests.support.cluster import running_cluster, wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_no_containers()), reason=why_no_containers() or "containers run"),
]

REPLICAS = 4


@pytest.fixture(scope="module")
def cluster():
    with running_cluster("nerdctl") as running:
        yield running
        root = running.layout.directory
        state_dir = running.layout.node("node-1") / "runtime"
    bridge = "pp" + hashlib.sha256(str(state_dir).encode()).hexdigest()[:8]
    assert bridge not in os.listdir("/sys/class/net")
    rules = subprocess.run(("iptables-save",), check=True, capture_output=True, text=True).stdout
    assert bridge not in rules
    with open("/proc/self/mounts") as mounts:
        assert [line for line in mounts if str(root) in line] == []


def ids(cluster) -> set[str]:
    return {container.id for container in cluster.containers()}


def running(cluster) -> bool:
    pods = cluster.items("pods", "-l", "app=web")
    return len(pods) == REPLICAS and all(
        pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        for pod in pods
    )


@pytest.fixture(scope="module")
def deployment(cluster):
    cluster.kubectl("create", "deployment", "web", "--image=podpath/busybox:1.35",
                    f"--replicas={REPLICAS}", "--", "sleep", "3600")  # fmt: skip
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    return ids(cluster)


@pytest.mark.parametrize("victim", ["node-1-kubelet", "node-1-shim"])
def test_containers_outlive_their_kubelet_and_shim(cluster, deployment, victim):
    cluster.kill(victim)
    cluster.resume()
    wait_until(lambda: running(cluster), 90, "all Pods Running")
    assert ids(cluster) == deployment
    restarts = [
        status["restartCount"]
        for pod in cluster.items("pods", "-l", "app=web")
        for status in pod["status"]["containerStatuses"]
    ]
    assert restarts == [0] * REPLICAS


@pytest.mark.parametrize("victim", ["node-1-kubelet", "node-1-shim"])
def test_killed_in_the_middle_of_a_rollout_no_container_is_doubled_or_leaked(cluster, victim):
    name = f"burst-{victim}"

    def owners() -> list[str]:
        found = (c.labels["io.kubernetes.pod.name"] for c in cluster.containers())
        return sorted(owner for owner in found if owner.startswith(name))

    command = ("--", "sleep", "3600")
    image = "--image=podpath/busybox:1.35"
    cluster.kubectl("create", "deployment", name, image, "--replicas=6", *command)
    wait_until(lambda: bool(owners()), 90, "the first container")
    cluster.kill(victim)
    cluster.resume()
    cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    pods = cluster.items("pods", "-l", f"app={name}")
    assert owners() == sorted(p["metadata"]["name"] for p in pods)
    cluster.kubectl("delete", "deployment", name)
    wait_until(lambda: not owners(), 60, "the containers to go")


def test_a_pod_is_reached_by_its_address_and_its_log_is_read(cluster, deployment):
    pod = cluster.items("pods", "-l", "app=web")[0]
    address, name = pod["status"]["podIP"], pod["metadata"]["name"]
    subprocess.run(
        ("busybox", "ping", "-c", "1", "-W", "2", address), check=True, capture_output=True
    )
    assert cluster.kubectl("exec", name, "--", "hostname").strip() == name
    cluster.kubectl("exec", name, "--", "sh", "-c", "echo told > /proc/1/fd/1")
    wait_until(lambda: "told" in cluster.kubectl("logs", name), 60, "the line in the log")
