"""Kubernetes' own scheduler and controllers 1.32 in the places of ours."""

import json
from collections.abc import Iterator

import pytest

from tests.support import programs, real_control_plane
from tests.support.cluster import Cluster, running_cluster, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TIMEOUT_S = 120
CONTAINER = {"name": "c", "image": "busybox"}
LABELS = {"app": "peer"}
ENDS = {"fake.podpath.io/exit-after": "0.1"}


def pod_template(annotations: dict[str, str] | None = None, **spec: object) -> dict:
    return {
        "metadata": {"labels": LABELS, "annotations": annotations or {}},
        "spec": {"containers": [CONTAINER], **spec},
    }


def apply(cluster: Cluster, api_version: str, kind: str, name: str, **body: object) -> None:
    tree = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **body}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(tree))


def apply_workload(cluster: Cluster, kind: str, name: str, **spec: object) -> None:
    """One of apps/v1 with the Pods of `pod_template`, and waits until it is rolled out."""
    body = {"selector": {"matchLabels": LABELS}, "template": pod_template(), **spec}
    apply(cluster, "apps/v1", kind, name, spec=body)
    rolled_out(cluster, f"{kind.lower()}/{name}")


def rolled_out(cluster: Cluster, what: str) -> None:
    cluster.kubectl("rollout", "status", what, f"--timeout={TIMEOUT_S}s")


@pytest.fixture(scope="module")
def scheduled() -> Iterator[Cluster]:
    if problem := programs.why_missing("kube-scheduler"):
        pytest.skip(problem)
    with (
        running_cluster("fake", nodes=2, without=frozenset({"scheduler"})) as cluster,
        real_control_plane.running_scheduler(cluster),
    ):
        yield cluster


def test_the_real_scheduler_binds(scheduled: Cluster) -> None:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": LABELS},
    }
    template = pod_template(topologySpreadConstraints=[spread])
    apply_workload(scheduled, "Deployment", "spread", replicas=4, template=template)
    nodes = sorted(pod["spec"]["nodeName"] for pod in scheduled.items("pods"))
    assert nodes == ["node-1", "node-1", "node-2", "node-2"]


def test_it_says_what_does_not_fit(scheduled: Cluster) -> None:
    huge = {**CONTAINER, "resources": {"requests": {"cpu": "1000"}}}
    apply(scheduled, "v1", "Pod", "huge", spec={"containers": [huge]})
    scheduled.kubectl(
        "wait", "pod/huge", "--for=jsonpath={.status.conditions[0].reason}=Unschedulable"
    )
    events = scheduled.items("events", "--field-selector=reason=FailedScheduling")
    assert "0/2 nodes are available: 2 Insufficient cpu." in events[0]["message"]


@pytest.fixture(scope="module")
def managed() -> Iterator[Cluster]:
    if problem := programs.why_missing("kube-controller-manager"):
        pytest.skip(problem)
    with (
        running_cluster("fake", nodes=2, without=frozenset({"controllers"})) as cluster,
        real_control_plane.running_controller_manager(cluster),
    ):
        wait_until(lambda: is_usable(cluster), TIMEOUT_S, "its first namespace")
        yield cluster


def is_usable(cluster: Cluster) -> bool:
    names = {item["metadata"]["name"] for item in cluster.items("serviceaccounts,configmaps")}
    return names >= {"default", "kube-root-ca.crt"}


def test_deployment(managed: Cluster) -> None:
    apply_workload(managed, "Deployment", "web", replicas=3)
    managed.kubectl("scale", "deployment/web", "--replicas=5")
    rolled_out(managed, "deployment/web")
    managed.kubectl("set", "image", "deployment/web", "c=busybox:2")
    rolled_out(managed, "deployment/web")
    managed.kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=120s")
    assert managed.items("replicasets") == []


def test_stateful_set(managed: Cluster) -> None:
    apply_workload(managed, "StatefulSet", "db", serviceName="db", replicas=2)
    names = {pod["metadata"]["name"] for pod in managed.items("pods", "-l", "app=peer")}
    assert names >= {"db-0", "db-1"}
    managed.kubectl("delete", "statefulset", "db", "--timeout=120s")


def test_daemon_set(managed: Cluster) -> None:
    apply_workload(managed, "DaemonSet", "agent")
    status = managed.items("daemonsets")[0]["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (2, 2)
    managed.kubectl("delete", "daemonset", "agent", "--timeout=120s")


def test_jobs(managed: Cluster) -> None:
    template = pod_template(ENDS, restartPolicy="Never")
    apply(
        managed,
        "batch/v1",
        "Job",
        "once",
        spec={"completions": 3, "parallelism": 2, "template": template},
    )
    managed.kubectl("wait", "job/once", "--for=condition=Complete", f"--timeout={TIMEOUT_S}s")
    assert managed.items("jobs")[0]["status"]["succeeded"] == 3
    managed.kubectl("delete", "job", "once", "--timeout=120s")
    wait_until(lambda: managed.items("pods", "-l", "app=peer") == [], TIMEOUT_S, "its Pods gone")


def test_cron_job(managed: Cluster) -> None:
    template = pod_template(ENDS, restartPolicy="Never")
    apply(
        managed,
        "batch/v1",
        "CronJob",
        "often",
        spec={"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}},
    )
    wait_until(lambda: len(managed.items("jobs")) > 0, TIMEOUT_S, "its first Job")
    managed.kubectl("delete", "cronjob", "often", "--timeout=120s")


def test_endpoints_of_a_service(managed: Cluster) -> None:
    apply(
        managed,
        "v1",
        "ReplicationController",
        "old",
        spec={"replicas": 2, "selector": {"app": "old"}, "template": labelled("old")},
    )
    apply(
        managed, "v1", "Service", "old", spec={"selector": {"app": "old"}, "ports": [{"port": 80}]}
    )

    def addresses() -> int:
        slices = managed.items("endpointslices", "-l", "kubernetes.io/service-name=old")
        ready = [e for s in slices for e in s["endpoints"] or () if e["conditions"]["ready"]]
        return len(ready)

    wait_until(lambda: addresses() == 2, TIMEOUT_S, "two addresses in its slice")
    (endpoints,) = (e for e in managed.items("endpoints") if e["metadata"]["name"] == "old")
    assert len(endpoints["subsets"][0]["addresses"]) == 2


def labelled(app: str) -> dict:
    template = pod_template()
    template["metadata"]["labels"] = {"app": app}
    return template


def test_quota_is_counted(managed: Cluster) -> None:
    apply(managed, "v1", "ResourceQuota", "few", spec={"hard": {"configmaps": "10"}})

    def used() -> str:
        status = managed.items("resourcequotas")[0].get("status", {})
        return status.get("used", {}).get("configmaps", "")

    before = len(managed.items("configmaps"))
    wait_until(lambda: used() == str(before), TIMEOUT_S, "what is used")
    managed.kubectl("create", "configmap", "another")
    wait_until(lambda: used() == str(before + 1), TIMEOUT_S, "one more used")


def test_a_namespace_ends(managed: Cluster) -> None:
    managed.kubectl("create", "namespace", "short")
    managed.kubectl("create", "configmap", "data", "-n", "short")
    managed.kubectl("delete", "namespace", "short", f"--timeout={TIMEOUT_S}s")


def test_roles_are_aggregated(managed: Cluster) -> None:
    """By server-side apply."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": "widgets-viewer",
            "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"},
        },
        "rules": [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}],
    }
    managed.kubectl("apply", "-f", "-", stdin=json.dumps(role))

    def has_widgets() -> bool:
        view = json.loads(managed.kubectl("get", "clusterrole", "view", "-o", "json"))
        return any("widgets" in rule.get("resources", ()) for rule in view["rules"])

    wait_until(has_widgets, TIMEOUT_S, "the rule in the role view")
