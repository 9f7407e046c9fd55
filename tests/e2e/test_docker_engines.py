"""A cluster on nerdctl, where no docker is: images built elsewhere are handed over."""

import tempfile
from pathlib import Path

import pytest

from podpath.cli import cluster_images, cluster_nodes
from podpath.cli.cluster_engine import Engine
from podpath.cli.cluster_lifecycle import Cluster
from podpath.cli.cluster_plan import ClusterPlan
from podpath.component_base import binaries
from tests.support import containerd
from tests.support.docker_cluster import (
    DockerCluster,
    engine_or_skip,
    is_true,
    left_of,
    wait_until,
)

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(bool(containerd.available()), reason=containerd.available()),
]

NERDCTL = """#!/bin/sh
exec {program} --address={address} --data-root={root}/data --cni-path=/usr/lib/cni \\
  --cni-netconfpath={root}/cni "$@"
"""


@pytest.fixture
def nerdctl():
    """nerdctl on a containerd of its own, with the images of `make docker`'s engine."""
    builder = engine_or_skip()
    cluster_images.ensure(builder, print)
    # A short path: containerd's sockets lie below it.
    with (
        tempfile.TemporaryDirectory(prefix="podpath-nerdctl-") as directory,
        containerd.running(Path(directory) / "c") as own,
    ):
        program = Path(directory) / "nerdctl"
        text = NERDCTL.format(program=binaries.find("nerdctl"), address=own.address, root=directory)
        program.write_text(text)
        program.chmod(0o755)
        engine = Engine(str(program))
        for role in cluster_images.ROLES:
            engine.run("load", "-q", stdin=builder.save(cluster_images.image_of(role)))
        yield engine


def test_a_cluster_on_nerdctl(nerdctl, tmp_path):
    cluster = Cluster(nerdctl, "small", tmp_path, print)
    cluster.create(ClusterPlan("small", 2), build=False)
    try:
        small = DockerCluster(cluster)
        for number in (1, 2):
            small.kubectl("run", f"pod-{number}", "--image=podpath/busybox:1.35", "--command",
                          "sleep", "1000")  # fmt: skip
        wait_until(lambda: sum(is_true(p, "Ready") for p in small.pods()) == 2, 60, "Pods Ready")
        assert small.kubectl("exec", "pod-1", "--", "echo", "reached") == "reached\n"
        before = small.containers("node-1")
        cluster_nodes.pause(cluster, "node-1")
        assert cluster.node("node-1").state == "paused"
        cluster_nodes.unpause(cluster, "node-1")
        cluster_nodes.partition(cluster, "node-1")
        cluster_nodes.heal(cluster, "node-1")
        cluster_nodes.stop(cluster, "control-plane")
        assert small.containers("node-1") == before
        cluster_nodes.start(cluster, "control-plane")
        wait_until(lambda: small.is_ready("node-1"), 60, "the API server is back")
        cluster_nodes.remove(cluster, "node-2")
        assert [node.name for node in cluster.nodes()] == ["node-1"]
    finally:
        cluster.delete()
    assert left_of(nerdctl, "small") == {}
