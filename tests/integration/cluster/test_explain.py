"""`podpath explain` and `podpath trace` on a running cluster."""

import json
import subprocess
import sys

import pytest

from tests.support.cluster import running_cluster, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster():
    with running_cluster("fake", nodes=2) as made:
        yield made


def podpath(cluster, *arguments, check=True):
    where = (f"--name={cluster.layout.name}", f"--state-dir={cluster.layout.root}")
    main = "import sys; from podpath.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        (sys.executable, "-c", main, *arguments, *where),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr + done.stdout
    return done.stdout if check else done.stderr + done.stdout


def create(cluster, name, **spec):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "busybox"}], **spec},
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    return pod


def node_of(cluster, name):
    return json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))["spec"].get("nodeName")


def test_a_placed_pod_is_explained_by_name_by_uid_and_in_its_trace(cluster):
    create(cluster, "placed")
    wait_until(lambda: node_of(cluster, "placed"), 60, "a node for the Pod")
    by_name = json.loads(podpath(cluster, "explain", "placed", "-o", "json"))
    assert by_name["node"] == node_of(cluster, "placed")
    assert by_name["evaluated"] == 2
    assert {s["node"] for s in by_name["scores"]} == {n.name for n in cluster.state.nodes}
    assert json.loads(podpath(cluster, "explain", by_name["uid"], "-o", "json")) == by_name
    assert f"default/placed -> {by_name['node']}" in podpath(cluster, "explain", "default/placed")
    steps = {s["number"]: s for s in json.loads(podpath(cluster, "trace", "placed", "-o", "json"))}
    assert steps["9b"]["explanation"] == by_name


def test_what_if_says_what_would_be_and_creates_nothing(cluster, tmp_path):
    before = cluster.kubectl("get", "pods", "-o", "name")
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text(
        "kind: Deployment\n"
        "metadata: {name: web}\n"
        "spec: {template: {spec: {containers: [{name: c, image: busybox,"
        " resources: {limits: {cpu: 4000}}}]}}}\n"
    )
    found = json.loads(podpath(cluster, "explain", "--what-if", str(manifest), "-o", "json"))
    assert (found["pod"], found["node"]) == ("default/web", "")
    # The limit became a request, as the API server's defaults say.
    assert found["message"].startswith("0/2 nodes are available: 2 Insufficient cpu.")
    assert cluster.kubectl("get", "pods", "-o", "name") == before


def test_a_dry_run_of_kubectl_is_no_decision(cluster):
    pod = {"metadata": {"name": "dry"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    tree = json.dumps({"apiVersion": "v1", "kind": "Pod", **pod})
    made = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=tree)
    assert "nodeName" not in json.loads(made)["spec"]
    told = podpath(cluster, "explain", "dry", check=False)
    assert "no decision about this Pod is remembered" in told
