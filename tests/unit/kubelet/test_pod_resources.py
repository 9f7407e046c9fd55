import pytest

from kubelet.pod_resources import (
    cgroup_parent,
    cpu_quota,
    cpu_shares,
    oom_score_adj,
    pod_requests,
    qos_class,
)
from tests.support.kubelet_objects import pod_of


def sized(container, *, cpu="", memory="", limit_cpu="", limit_memory=""):
    for name, request, limit in (("cpu", cpu, limit_cpu), ("memory", memory, limit_memory)):
        if request:
            container.resources.requests[name].string = request
        if limit:
            container.resources.limits[name].string = limit


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param({}, "BestEffort", id="nothing"),
        pytest.param({"cpu": "0"}, "BestEffort", id="zero does not count"),
        pytest.param({"cpu": "1"}, "Burstable", id="request only"),
        pytest.param(
            {"cpu": "1", "memory": "1Gi", "limit_cpu": "1", "limit_memory": "1Gi"},
            "Guaranteed",
            id="both limited and equal",
        ),
        pytest.param(
            {"cpu": "1", "memory": "1Gi", "limit_cpu": "2", "limit_memory": "1Gi"},
            "Burstable",
            id="limit above request",
        ),
        pytest.param({"limit_memory": "1Gi"}, "Burstable", id="one limit"),
    ],
)
def test_qos(sizes, expected):
    pod = pod_of("a")
    sized(pod.spec.containers[0], **sizes)
    assert qos_class(pod) == expected


def test_one_container_without_limits_spoils_guaranteed():
    pod = pod_of("a", "b")
    sized(pod.spec.containers[0], cpu="1", memory="1Gi", limit_cpu="1", limit_memory="1Gi")
    assert qos_class(pod) == "Burstable"


def test_requests_are_the_larger_of_the_sum_and_the_init_steps():
    pod = pod_of("a", "b", init=("i", "s+", "j"))
    for container, cpu in zip(
        (*pod.spec.containers, *pod.spec.initContainers),
        ("100m", "200m", "500m", "50m", "400m"),
        strict=True,
    ):
        sized(container, cpu=cpu)
    # containers + sidecar = 350; init steps: 500, 50, 50 + 400
    assert pod_requests(pod)["cpu"] == 500


@pytest.mark.parametrize(
    ("millicores", "shares", "quota"),
    [(0, 2, 0), (1, 2, 1000), (100, 102, 10000), (1000, 1024, 100000), (999999, 262144, 99999900)],
)
def test_shares_and_quota(millicores, shares, quota):
    assert (cpu_shares(millicores), cpu_quota(millicores)) == (shares, quota)


def test_oom_scores():
    pod = pod_of("a")
    container = pod.spec.containers[0]
    capacity = 8 << 30
    assert oom_score_adj(pod, container, "BestEffort", capacity) == 1000
    assert oom_score_adj(pod, container, "Guaranteed", capacity) == -997
    sized(container, memory="4Gi")
    assert oom_score_adj(pod, container, "Burstable", capacity) == 500
    pod.spec.priority = 2_000_000_000
    assert oom_score_adj(pod, container, "Burstable", capacity) == -997


@pytest.mark.parametrize(
    ("qos", "systemd", "expected"),
    [
        ("Guaranteed", False, "/kubepods/poda-b"),
        ("Burstable", False, "/kubepods/burstable/poda-b"),
        ("BestEffort", False, "/kubepods/besteffort/poda-b"),
        ("Burstable", True, "kubepods-burstable-poda_b.slice"),
        ("Guaranteed", True, "kubepods-poda_b.slice"),
    ],
)
def test_cgroup_parent(qos, systemd, expected):
    assert cgroup_parent("a-b", qos, systemd=systemd) == expected
