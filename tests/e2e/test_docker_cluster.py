"""Clusters on containers: side by side, limited, growing, and nothing left at the end."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from podpath.cli import cluster_images, cluster_nodes
from podpath.cli.cluster_engine import Engine
from podpath.cli.cluster_lifecycle import Cluster
from podpath.cli.cluster_plan import ClusterPlan
from podpath.cli.layout import ClusterError
from podpath.component_base import image_tar
from tests.support.docker_cluster import (
    docker_cluster,
    engine_or_skip,
    is_true,
    left_of,
    wait_until,
)

pytestmark = [pytest.mark.docker, pytest.mark.slow]


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


REFUSING = """#!/bin/sh
case "$*" in {pattern}) echo "refused on purpose" >&2; exit 125;; esac
exec {program} "$@"
"""


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("'network create'*", id="the first thing that is made"),
        pytest.param("'volume create'*-node-2", id="a volume, while other nodes start"),
        pytest.param("'run '*control-plane*", id="the control plane"),
        pytest.param("'run '*--name=podpath-broken-node-2*", id="one of the nodes"),
        pytest.param("'exec -i '*node-1*podpath-join", id="joining, with a kubeconfig fetched"),
    ],
)
def test_nothing_is_left_wherever_create_fails(tmp_path, pattern):
    engine = engine_or_skip()
    cluster_images.ensure(engine, print)
    refusing = tmp_path / engine.name
    refusing.write_text(REFUSING.format(pattern=pattern, program=engine.program))
    refusing.chmod(0o755)
    cluster = Cluster(Engine(str(refusing)), "broken", tmp_path / "state", print)
    with pytest.raises(ClusterError, match="refused on purpose"):
        cluster.create(ClusterPlan("broken", 2, "fake"), build=False)
    assert left_of(engine, "broken") == {}
    assert list(tmp_path.rglob("kubeconfig")) == []


def test_no_image_holds_a_secret():
    engine = engine_or_skip()
    cluster_images.ensure(engine, print)
    # A key, a kubeconfig or a token would be in a file of its own, or where they are kept at work.
    search = (
        "find /var/lib/podpath /etc/podpath /run -xdev -type f 2>/dev/null; "
        "find / -xdev -type f \\( -name '*.key' -o -name '*kubeconfig*' -o -name 'id_*sa' "
        "-o -name 'sa.pub' \\) ! -name '*.py*'; "
        "grep -rIlE --exclude='*.py' --exclude='*.pyc' -- '^-----BEGIN ([A-Z]+ )?PRIVATE KEY-----' "
        "/etc /opt /root /usr /var 2>/dev/null"
    )
    for role in cluster_images.ROLES:
        image = cluster_images.image_of(role)
        run = ("run", "--rm", *engine.limits(), "--entrypoint=sh", image)
        found = engine.run(*run, "-c", f"{search}; true")
        assert found == "", image


def test_what_a_person_asks_of_a_cluster(tmp_path):
    with docker_cluster(ClusterPlan("asked", 1)) as asked:
        name, root = asked.cluster.name, asked.cluster.root

        def podpath(*arguments, **options):
            done = subprocess.run(
                (str(Path(sys.executable).with_name("podpath")), "cluster", *arguments),
                capture_output=True, text=True, timeout=120, check=False, **options,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        own = (f"--name={name}", f"--state-dir={root}")
        assert "asked    2" in podpath("list")
        assert "running" in podpath("node", "list", *own)
        config = tmp_path / "config"
        config.write_text(podpath("kubeconfig", *own))
        assert f"current-context: podpath-{name}" in config.read_text()
        # A kubeconfig that is gone is fetched again.
        (root / "containers" / name / "kubeconfig").unlink()
        assert podpath("kubeconfig", *own) == config.read_text()
        assert "nerdctl version" in podpath("node", "exec", *own, "node-1", "--", "nerdctl", "-v")
        assert "started kubelet" in podpath("node", "logs", *own, "node-1")
        assert podpath("node", "logs", *own, "control-plane", "apiserver")
        # An image of this machine's engine becomes one of the node's.
        image = tmp_path / "image.tar"
        spec = image_tar.ImageSpec(("docker.io/podpath/own:1",), command=("sleep", "1000"))
        image.write_bytes(image_tar.build(spec))
        podpath("load", "image", *own, str(image))
        asked.engine.run("load", stdin=image.read_bytes())
        podpath("load", "image", *own, "--node=node-1", "podpath/own:1")
        asked.engine.run("rmi", "podpath/own:1")
        asked.kubectl("run", "own", "--image=podpath/own:1", "--image-pull-policy=Never")
        wait_until(lambda: [p for p in asked.pods() if is_true(p, "Ready")], 60, "its Pod Ready")
        podpath("export", "logs", *own, str(tmp_path / "logs"))
        logs = tmp_path / "logs" / f"podpath-{name}-node-1"
        assert (logs / "kubelet.log").read_text()
        assert (logs / "container.log").read_text()
        assert list((logs / "pods").glob("default_own_*/own/0.log"))
        assert (tmp_path / "logs" / f"podpath-{name}-control-plane" / "etcd.log").exists()


def test_nodes_renew_their_certificates_before_they_expire():
    environment = {"CLUSTER_SIGNING_DURATION": "40s"}
    with docker_cluster(ClusterPlan("renewing", 1, environment=environment)) as cluster:
        sleep = ("--image=podpath/busybox:1.35", "--command", "sleep", "1000")
        cluster.kubectl("run", "pod", *sleep)
        wait_until(lambda: [p for p in cluster.pods() if is_true(p, "Ready")], 60, "the Pod Ready")
        wait_until(lambda: served_certificate(cluster, "node-1"), 30, "the kubelet serves")
        serving = served_certificate(cluster, "node-1")
        end = serving.not_valid_after_utc

        def replaced():
            now = served_certificate(cluster, "node-1")
            return now is not None and now.serial_number != serving.serial_number

        wait_until(replaced, 40, "the kubelet serves with another certificate")
        assert datetime.now(UTC) < end, "renewed before the old one expired"
        wait_until(lambda: datetime.now(UTC) > end, 60, "the first certificates have expired")
        # Both directions go on: the node reports, and its Pods are reached.
        lease = cluster.kubectl("get", "lease", "-n", "kube-node-lease", "node-1", "-o", "json")
        cluster.kubectl("run", "later", *sleep)
        wait_until(lambda: sum(is_true(p, "Ready") for p in cluster.pods()) == 2, 60, "a later Pod")
        assert cluster.kubectl("exec", "pod", "--", "echo", "reached") == "reached\n"
        later = cluster.kubectl("get", "lease", "-n", "kube-node-lease", "node-1", "-o", "json")
        renewed = [json.loads(text)["spec"]["renewTime"] for text in (lease, later)]
        assert cluster.is_ready("node-1")
        assert renewed[0] <= renewed[1]
        kinds = [csr["spec"]["signerName"] for csr in cluster.items("csr")]
        assert kinds.count("kubernetes.io/kube-apiserver-client-kubelet") >= 2
        assert kinds.count("kubernetes.io/kubelet-serving") >= 2


def served_certificate(cluster, node):
    """What the kubelet shows to its clients now; None when it does not serve."""
    address = cluster.cluster.node(node).address
    script = f"import ssl, sys; print(ssl.get_server_certificate(('{address}', 10250), timeout=5))"
    try:
        text = cluster.engine.run("exec", cluster.cluster.control_plane, "python3", "-c", script)
    except ClusterError:
        return None
    return x509.load_pem_x509_certificate(text.encode())


def test_ten_nodes_on_the_fake_runtime_and_their_memory(capsys):
    with docker_cluster(ClusterPlan("ten", 10, "fake")) as cluster:
        cluster.kubectl("create", "deployment", "many", "--image=podpath/any", "--replicas=100")
        wait_until(
            lambda: sum(p["status"]["phase"] == "Running" for p in cluster.pods()) == 100,
            120,
            "100 Pods Running on 10 nodes",
        )
        totals = []
        for node in cluster.cluster.nodes():
            listed = cluster.engine.run("exec", node.container, "ps", "-eo", "rss=,args=")
            rss = {
                name: next(
                    int(line.split()[0]) // 1024 for line in listed.splitlines() if name in line
                )
                for name in ("-m kubelet", "-m runtime_shim", "container_main")
            }
            totals.append(sum(rss.values()))
            with capsys.disabled():
                print(f"\n{node.name}: MiB {json.dumps(rss)}", end="")
        assert max(totals) < 400
