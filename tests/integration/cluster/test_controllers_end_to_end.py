"""Deployments and namespaces on a whole cluster, with the unmodified kubectl."""

import base64
import json

import pytest

from podpath.component_base import certificate_requests, certificates
from tests.support.cluster import running_cluster, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.kubectl, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster():
    with running_cluster("fake", nodes=3) as running:
        yield running


def ready(cluster, name, namespace="default"):
    found = cluster.items("deployments", "-n", namespace, f"--field-selector=metadata.name={name}")
    return found[0]["status"].get("readyReplicas", 0) if found else 0


def pods(cluster, namespace="default"):
    return {p["metadata"]["name"]: p for p in cluster.items("pods", "-n", namespace)}


def test_a_deployments_life(cluster):
    cluster.kubectl("create", "deployment", "web", "--image=podpath/busybox:1.35", "--replicas=3")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    three = pods(cluster)
    assert len(three) == 3
    assert len({p["spec"]["nodeName"] for p in three.values()}) == 3

    cluster.kubectl("scale", "deployment/web", "--replicas=5")
    wait_until(lambda: ready(cluster, "web") == 5, 90, "five replicas")
    assert set(three) <= set(pods(cluster))

    victim = min(three)
    cluster.kubectl("delete", "pod", victim, "--grace-period=1")
    wait_until(lambda: ready(cluster, "web") == 5, 90, "a replacement")
    assert victim not in pods(cluster)

    cluster.kubectl("set", "image", "deployment/web", "busybox=podpath/busybox:1.36")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    images = {p["spec"]["containers"][0]["image"] for p in pods(cluster).values()
              if "deletionTimestamp" not in p["metadata"]}  # fmt: skip
    assert images == {"podpath/busybox:1.36"}
    cluster.kubectl("rollout", "undo", "deployment/web")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")

    cluster.kubectl("delete", "deployment", "web")
    wait_until(lambda: not pods(cluster), 60, "the Pods to go with their deployment")
    assert cluster.items("replicasets") == []


def test_a_namespace_goes_with_all_it_holds(cluster):
    cluster.kubectl("create", "namespace", "doomed")
    cluster.kubectl("create", "deployment", "d", "-n", "doomed", "--image=podpath/busybox:1.35",
                    "--replicas=2")  # fmt: skip
    cluster.kubectl("create", "configmap", "c", "-n", "doomed", "--from-literal=a=b")
    wait_until(lambda: ready(cluster, "d", "doomed") == 2, 90, "two replicas")
    cluster.kubectl("delete", "namespace", "doomed", "--timeout=90s")
    assert "doomed" not in {n["metadata"]["name"] for n in cluster.items("namespaces")}
    wait_until(lambda: not cluster.containers(), 90, "the containers to go")


def test_owners_in_a_circle_do_not_wait_for_one_another_for_ever(cluster):
    names = ("one", "two", "three")
    for name in names:
        cluster.kubectl("create", "configmap", name)
    uids = {c["metadata"]["name"]: c["metadata"]["uid"] for c in cluster.items("configmaps")}
    for name, owner in zip(names, (names[-1], *names), strict=False):
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner,
            "uid": uids[owner],
            "blockOwnerDeletion": True,
        }
        patch = json.dumps({"metadata": {"ownerReferences": [reference]}})
        cluster.kubectl("patch", "configmap", name, "--type=merge", "--patch", patch)
    cluster.kubectl("delete", "configmap", "one", "--cascade=foreground", "--wait=false")
    left = lambda: {c["metadata"]["name"] for c in cluster.items("configmaps")} & set(names)  # noqa: E731
    wait_until(lambda: not left(), 90, "all three to go")


def test_a_budget_holds_a_drain_up_until_it_can_spare_a_pod(cluster):
    cluster.kubectl("create", "deployment", "guarded", "--image=podpath/busybox:1.35",
                    "--replicas=2")  # fmt: skip
    cluster.kubectl("create", "pdb", "guarded", "--selector=app=guarded", "--min-available=2")

    def budget():
        return cluster.items("pdb", "--field-selector=metadata.name=guarded")[0]["status"]

    wait_until(lambda: budget().get("currentHealthy") == 2, 90, "two healthy Pods")
    assert (budget()["expectedPods"], budget()["disruptionsAllowed"]) == (2, 0)
    node = cluster.items("pods", "-l", "app=guarded")[0]["spec"]["nodeName"]
    with pytest.raises(AssertionError, match="violate the pod's disruption budget"):
        cluster.kubectl("drain", node, "--timeout=3s")
    assert len(cluster.items("pods", "-l", "app=guarded")) == 2

    cluster.kubectl("patch", "pdb", "guarded", "--patch", '{"spec":{"minAvailable":1}}')
    cluster.kubectl("drain", node, "--timeout=90s")
    wait_until(lambda: ready(cluster, "guarded") == 2, 90, "the replacement")
    assert node not in {p["spec"]["nodeName"] for p in cluster.items("pods", "-l", "app=guarded")}
    cluster.kubectl("uncordon", node)


def test_a_user_gets_a_certificate_by_request(cluster, tmp_path):
    """As the documentation of Kubernetes shows it: a request, an approval, and the name counts."""
    key = certificates.new_key()
    request = certificate_requests.make(key, certificates.client("jane", ["readers"]))
    csr = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "jane"},
        "spec": {
            "request": base64.b64encode(request).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(csr))
    cluster.kubectl("certificate", "approve", "jane")
    get = ("get", "csr", "jane", "-o", "jsonpath={.status.certificate}")
    wait_until(lambda: cluster.kubectl(*get), 60, "the certificate")
    (tmp_path / "cert").write_bytes(base64.b64decode(cluster.kubectl(*get)))
    certificates.write_private(tmp_path / "key", certificates.private_key_pem(key))
    # The kubeconfig's own user is replaced whole.
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [
        {
            "name": config["contexts"][0]["context"]["user"],
            "user": {
                "client-certificate": str(tmp_path / "cert"),
                "client-key": str(tmp_path / "key"),
            },
        }
    ]
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    known = cluster.kubectl("--kubeconfig", str(tmp_path / "kubeconfig"), "auth", "whoami")
    assert "jane" in known
    assert "readers" in known
