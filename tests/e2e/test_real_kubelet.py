"""Kubernetes' own kubelet 1.32 drives the shim: it sees nothing that a mature runtime lacks."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podpath.component_base import binaries, image_tar
from tests.support import containerd, programs, real_kubelet
from tests.support.cluster import Cluster, running_cluster, wait_until
from tests.support.shim_process import ShimProcess, shim_on

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

IMAGE = image_tar.ImageSpec(names=("docker.io/podpath/busybox:1.35",))
NAMESPACE = "real-kubelet"
SHARED = [{"name": "shared", "mountPath": "/shared"}]


@dataclass(frozen=True, slots=True)
class Node:
    """A cluster whose second node is the real kubelet's."""

    cluster: Cluster
    engine: containerd.Containerd
    shim: ShimProcess

    def containers(self) -> set[str]:
        return set(self.engine.nerdctl(NAMESPACE, "ps", "--quiet", "--no-trunc").split())

    def pods(self) -> dict[str, dict]:
        return {pod["metadata"]["name"]: pod for pod in self.cluster.items("pods")}

    def run(self, name: str, containers: list[dict], **spec: object) -> None:
        """Past the scheduler, onto the node."""
        spec = {"nodeName": real_kubelet.NODE, "containers": containers, **spec}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))

    def phase(self, name: str) -> str:
        return self.pods()[name]["status"].get("phase", "")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if problem := containerd.available() or programs.why_missing("kubelet"):
        pytest.skip(problem)
    root = tmp_path_factory.mktemp("real")
    with running_cluster("fake") as cluster, containerd.running(root / "containerd") as engine:
        engine.load(NAMESPACE, IMAGE)
        with (
            shim_on(root, engine, NAMESPACE).running() as shim,
            real_kubelet.running_kubelet(root, cluster, shim),
        ):
            wait_until(lambda: is_ready(cluster), 120, "the node Ready")
            yield Node(cluster, engine, shim)
            cluster.kubectl("delete", "pods", "--all", "--timeout=90s")
            wait_until(lambda: leftovers(engine, shim) == [], 120, "nothing left")


def is_ready(cluster: Cluster) -> bool:
    nodes = {n["metadata"]["name"]: n for n in cluster.items("nodes")}
    conditions = nodes.get(real_kubelet.NODE, {}).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def leftovers(engine: containerd.Containerd, shim: ShimProcess) -> list[str]:
    """What should be gone with the Pods: containers, sandboxes, addresses, mounts."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return [
        *engine.nerdctl(NAMESPACE, "ps", "--all", "--quiet").split(),
        *os.listdir(shim.state / "sandboxes"),
        *os.listdir(shim.state / "containers"),
        *(str(path) for path in (shim.state / "ipam").glob("*/10.*")),
        *(line for line in mounts if str(shim.state) in line),
    ]


@pytest.fixture(scope="module")
def pod(node: Node) -> str:
    """Init container, probes, hooks, a strict security context, a shared volume, a terminal."""
    image = IMAGE.names[0]
    say = "cat /shared/greeting; trap 'exit 0' TERM; while :; do sleep 0.2; done"
    main = {
        "name": "main",
        "image": image,
        "command": ["sh", "-c", say],
        "volumeMounts": SHARED,
        "resources": {"limits": {"memory": "64Mi", "cpu": "200m"}},
        "securityContext": {
            "runAsUser": 1000,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
        "readinessProbe": {"exec": {"command": ["test", "-e", "/shared/post"]}, "periodSeconds": 1},
        "lifecycle": {"postStart": {"exec": {"command": ["touch", "/shared/post"]}}},
    }
    web = {
        "name": "web",
        "image": image,
        "command": ["httpd", "-f", "-p", "8080", "-h", "/shared"],
        "volumeMounts": SHARED,
        "tty": True,
        "stdin": True,
    }
    init = {
        "name": "init",
        "image": image,
        "command": ["sh", "-c", "echo hello > /shared/greeting"],
        "volumeMounts": SHARED,
    }
    node.run(
        "one",
        [main, web],
        initContainers=[init],
        volumes=[{"name": "shared", "emptyDir": {}}],
        terminationGracePeriodSeconds=5,
    )

    def ready() -> bool:
        statuses = node.pods()["one"]["status"].get("containerStatuses", [])
        return len(statuses) == 2 and all(status["ready"] for status in statuses)

    wait_until(ready, 120, "both containers ready")
    return "one"


def test_logs_and_exec(node: Node, pod: str) -> None:
    assert node.cluster.kubectl("logs", pod, "-c", "main") == "hello\n"
    told = node.cluster.kubectl("exec", pod, "-c", "main", "--", "sh", "-c", "id -u; hostname")
    assert told == "1000\none\n"
    done = subprocess.run(
        (
            *(binaries.find("kubectl"), f"--kubeconfig={node.cluster.layout.kubeconfig}"),
            *("exec", "-i", pod, "-c", "main", "--", "cat"),
        ),
        input="typed\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "typed\n"


def test_it_is_reached_at_its_address(node: Node, pod: str) -> None:
    address = node.pods()[pod]["status"]["podIP"]
    fetched = subprocess.run(
        ("busybox", "wget", "-q", "-O-", f"http://{address}:8080/greeting"),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert fetched.stdout == "hello\n"


@pytest.mark.parametrize(
    ("name", "script", "code", "reason"),
    [
        ("hungry", "x=a; while :; do x=$x$x; done", 137, "OOMKilled"),
        ("failing", "exit 3", 3, "Error"),
        ("done", "true", 0, "Completed"),
    ],
)
def test_how_containers_end(node: Node, name: str, script: str, code: int, reason: str) -> None:
    container = {
        "name": "c",
        "image": IMAGE.names[0],
        "command": ["sh", "-c", script],
        "resources": {"limits": {"memory": "16Mi"}},
    }
    node.run(name, [container], restartPolicy="Never")
    wait_until(lambda: node.phase(name) in ("Failed", "Succeeded"), 60, f"the end of {name}")
    (status,) = node.pods()[name]["status"]["containerStatuses"]
    ended = status["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (code, reason)


def test_a_killed_shim_loses_no_container(node: Node, pod: str) -> None:
    before = node.containers()
    node.shim.kill()
    node.shim.start()
    node.cluster.kubectl("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=60s")
    told = node.cluster.kubectl("exec", pod, "-c", "main", "--", "echo", "still here")
    assert told == "still here\n"
    assert node.containers() == before
    statuses = node.pods()[pod]["status"]["containerStatuses"]
    assert [status["restartCount"] for status in statuses] == [0, 0]


def test_its_figures(node: Node, pod: str) -> None:
    """What metrics-server reads for `kubectl top`."""
    path = f"/api/v1/nodes/{real_kubelet.NODE}/proxy/metrics/resource"

    def figures() -> dict[str, float]:
        found = {}
        for line in node.cluster.kubectl("get", "--raw", path).splitlines():
            match = re.match(
                r'container_memory_working_set_bytes{container="(\w+)",.*} (\S+) ', line
            )
            if match and f'pod="{pod}"' in line:
                found[match[1]] = float(match[2])
        return found

    wait_until(lambda: figures().keys() >= {"main", "web"}, 60, "figures of both containers")
    assert min(figures().values()) > 0
