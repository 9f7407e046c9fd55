"""A cluster on containers for tests: what they ask of it and how long they wait."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podpath.cli import cluster_images
from podpath.cli.cluster_engine import CLUSTER_LABEL, Engine
from podpath.cli.cluster_lifecycle import Cluster, kubeconfig_path
from podpath.cli.cluster_plan import ClusterPlan
from podpath.cli.layout import ClusterError
from podpath.component_base import binaries

SPREAD = Path(__file__).resolve().parents[2] / "examples" / "spread.yaml"
REPLICAS = 6


def engine_or_skip() -> Engine:
    """The one that PODPATH_ENGINE names, as `make docker` does: then it has to be there."""
    named = os.environ.get("PODPATH_ENGINE", "")
    try:
        return Engine.find(named or "auto")
    except ClusterError as error:
        if named:
            raise
        pytest.skip(f"{error}; `make docker` starts one")


def left_of(engine: Engine, cluster: str) -> dict[str, list[str]]:
    """Whatever still carries the cluster's label, by kind."""
    kinds = ("container", "network", "volume")
    labels = [f"{CLUSTER_LABEL}={cluster}"]
    return {kind: found for kind in kinds if (found := engine.names(kind, labels))}


class DockerCluster:
    """Asks kubectl and the nodes' own container engines."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.engine = cluster.engine

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        config = kubeconfig_path(self.cluster.root, self.cluster.name)
        done = subprocess.run(
            (binaries.find("kubectl"), f"--kubeconfig={config}", *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def items(self, *arguments: str) -> list[dict]:
        text = self.kubectl("get", *arguments, "-o", "json", check=False)
        return json.loads(text)["items"] if text else []

    def pods(self) -> list[dict]:
        """The Deployment's Pods that are not being deleted."""
        return [p for p in self.items("pods") if "deletionTimestamp" not in p["metadata"]]

    def ready_pods(self, *, not_on: str = "") -> list[dict]:
        return [
            pod
            for pod in self.pods()
            if pod["spec"].get("nodeName") != not_on and is_true(pod, "Ready")
        ]

    def is_ready(self, node: str) -> bool:
        found = [n for n in self.items("nodes") if n["metadata"]["name"] == node]
        taints = found[0]["spec"].get("taints", []) if found else []
        return bool(found) and is_true(found[0], "Ready") and not taints

    def containers(self, node: str) -> dict[str, str]:
        """id -> Pod's uid, of the running containers that the node's containerd has."""
        script = (
            "nerdctl ps -q --no-trunc | xargs -r nerdctl inspect --mode=native --format "
            "'{{.ID}} {{index .Labels \"io.kubernetes.pod.uid\"}}'"
        )
        listed = self.engine.run("exec", self.cluster.node(node).container, "sh", "-c", script)
        return dict(line.split() for line in listed.splitlines() if len(line.split()) == 2)


def is_true(obj: dict, condition: str) -> bool:
    conditions = obj.get("status", {}).get("conditions", [])
    return any(c["type"] == condition and c["status"] == "True" for c in conditions)


def wait_until(look: Callable[[], object], limit_s: float, what: str) -> float:
    """Seconds that it took. Fails when `limit_s` is over."""
    start = time.monotonic()
    while not look():
        if time.monotonic() - start > limit_s:
            raise AssertionError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(0.25)
    took = time.monotonic() - start
    print(f"{what}: {took:.1f} s")
    return took


@contextmanager
def docker_cluster(plan: ClusterPlan) -> Iterator[DockerCluster]:
    """Gone afterwards, whatever happens."""
    engine = engine_or_skip()
    with tempfile.TemporaryDirectory(prefix="podpath-docker-") as directory:
        cluster = Cluster(engine, plan.name, Path(directory), print)
        cluster_images.ensure(engine, print)
        cluster.delete()
        try:
            cluster.create(plan, build=False)
            yield DockerCluster(cluster)
        finally:
            cluster.delete()
