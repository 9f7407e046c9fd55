"""`podpath cluster demo`: three nodes on containers, shown with an unmodified kubectl.

Every claim is checked; the first that does not hold ends the demonstration with an error.
"""

import http.client
import json
import re
import subprocess
from pathlib import Path

from podpath.cli import cluster_images
from podpath.cli.cluster_lifecycle import Cluster, kubeconfig_path
from podpath.cli.cluster_plan import ClusterPlan
from podpath.cli.layout import ClusterError
from podpath.component_base import binaries
from podpath.component_base.clock import SystemClock

NODES = 3
REPLICAS = 6
READY_MAX_S = 30.0
_TIMEOUT_S = 120.0
MANIFEST = Path(__file__).resolve().parents[2] / "examples" / "spread.yaml"


def run(cluster: Cluster, *, keep: bool) -> None:
    """Raises: ClusterError when anything does not go as it should."""
    cluster_images.ensure(cluster.engine, print)
    clock = SystemClock()
    start = clock.monotonic()
    try:
        cluster.create(ClusterPlan(cluster.name, NODES), build=False)
        seconds = clock.monotonic() - start
        print(f"\nfrom built images to {NODES} nodes Ready: {seconds:.1f} s")
        if seconds > READY_MAX_S:
            raise ClusterError(f"{NODES} nodes took {seconds:.1f} s, more than {READY_MAX_S:.0f} s")
        Walk(cluster).walk()
    finally:
        if not keep:
            cluster.delete()
            print(f"\ncluster {cluster.name} is deleted")
    if keep:
        print(f"export KUBECONFIG={kubeconfig_path(cluster.root, cluster.name)}")


class Walk:
    """What a person would do, each command shown with its answer."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        config = kubeconfig_path(cluster.root, cluster.name)
        self._kubectl = (binaries.find("kubectl"), f"--kubeconfig={config}")

    def walk(self) -> None:
        self.kubectl("get", "nodes", "-o", "wide", show=True)
        self.kubectl("apply", "-f", str(MANIFEST), show=True)
        self.kubectl("rollout", "status", "deployment/spread", "--timeout=60s", show=True)
        self.kubectl("get", "pods", "-o", "wide", show=True)
        pods = self.pods()
        self._are_spread(pods)
        self._are_real(pods)
        self._reach_each_other(pods)
        for node in sorted({pod["spec"]["nodeName"] for pod in pods}):
            self._streams(next(pod for pod in pods if pod["spec"]["nodeName"] == node))

    def kubectl(self, *arguments: str, show: bool = False) -> str:
        done = subprocess.run(
            (*self._kubectl, *arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
        if show:
            print(f"\n$ kubectl {' '.join(a.rpartition('/')[2] for a in arguments)}")
            print(done.stdout, end="", flush=True)
        if done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def pods(self) -> list[dict]:  # type: ignore[type-arg]
        found = json.loads(self.kubectl("get", "pods", "-l", "app=spread", "-o", "json"))
        items: list[dict] = found["items"]  # type: ignore[type-arg]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def _are_spread(self, pods: list[dict]) -> None:  # type: ignore[type-arg]
        counts: dict[str, int] = {}
        for pod in pods:
            node = pod["spec"]["nodeName"]
            counts[node] = counts.get(node, 0) + 1
        if len(pods) != REPLICAS or len(counts) != NODES:
            raise ClusterError(f"{REPLICAS} Pods are not spread over {NODES} nodes: {counts}")

    def _are_real(self, pods: list[dict]) -> None:  # type: ignore[type-arg]
        """Each Pod is a container of its node's own containerd: shown from within."""
        for node in self._cluster.nodes():
            listed = self._cluster.engine.run("exec", node.container, "nerdctl", "ps")
            print(f"\n$ podpath cluster node exec {node.name} -- nerdctl ps\n{listed}", end="")
            for pod in pods:
                name = pod["metadata"]["name"]
                if (name in listed) != (pod["spec"]["nodeName"] == node.name):
                    raise ClusterError(f"Pod {name} and the containers of {node.name} disagree")

    def _reach_each_other(self, pods: list[dict]) -> None:  # type: ignore[type-arg]
        addresses = [pod["status"]["podIP"] for pod in pods]
        # busybox's wget crashes where it is linked statically against glibc: nc does the same.
        fetch = r"printf 'GET /name HTTP/1.0\r\n\r\n' | nc -w 5 $ip 8080 | tail -n1 || exit 1"
        script = f"for ip in {' '.join(addresses)}; do {fetch}; done"
        for pod in pods:
            answers = self.kubectl(
                "exec", pod["metadata"]["name"], "--", "sh", "-c", script
            ).split()
            if sorted(answers) != sorted(p["metadata"]["name"] for p in pods):
                raise ClusterError(f"{pod['metadata']['name']} got answers from {answers} only")
        print(f"\nevery one of {len(pods)} Pods reached every other by IP over HTTP")

    def _streams(self, pod: dict) -> None:  # type: ignore[type-arg]
        """logs, exec and port-forward to one Pod."""
        name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
        log = self.kubectl("logs", name)
        if f"{name} serves" not in log:
            raise ClusterError(f"kubectl logs {name}: {log!r}")
        hostname = self.kubectl("exec", name, "--", "hostname").strip()
        if hostname != name:
            raise ClusterError(f"kubectl exec {name} -- hostname: {hostname!r}")
        answer = self._port_forward(name)
        if answer != name:
            raise ClusterError(f"kubectl port-forward {name}: {answer!r}")
        print(f"{node}: logs, exec and port-forward to {name} work")

    def _port_forward(self, name: str) -> str:
        argv = (*self._kubectl, "port-forward", f"pod/{name}", ":8080")
        forward = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = forward.stdout.readline() if forward.stdout else ""
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if found is None:
                raise ClusterError(f"kubectl port-forward {name}: {line!r}")
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
            connection.request("GET", "/name")
            return connection.getresponse().read().decode().strip()
        finally:
            forward.terminate()
            forward.communicate(timeout=10)
