"""Names, addresses and limits of clusters on containers; the supervisor's decisions."""

import pytest

from podpath.cli import cluster_plan, container_services
from podpath.cli.cluster_plan import ClusterPlan
from podpath.cli.container_services import NodeSettings
from podpath.cli.layout import ClusterError
from podpath.cli.supervisor import Service, State


def test_everything_that_is_made_carries_the_clusters_label():
    plan = ClusterPlan("blue", 1, cpus="1.5", memory="512Mi")
    place = cluster_plan.node_place("blue", "172.29.0.0/24", 3)
    argv = cluster_plan.run_node(plan, place, "image", ["--cap-add=ALL"])
    assert (place.container, place.address) == ("podpath-blue-node-3", "172.29.0.13")
    assert "--label=io.podpath.cluster=blue" in argv
    assert "--cpus=1.5" in argv
    assert f"--memory={512 << 20}" in argv
    assert argv[-1] == "image"


@pytest.mark.parametrize(
    ("used", "free"),
    [
        ([], "172.29.0.0/24"),
        (["172.29.0.0/24", "10.0.0.0/8"], "172.29.1.0/24"),
        (["172.29.0.0/16"], "172.30.0.0/24"),
    ],
)
def test_a_subnet_that_nobody_uses(used, free):
    assert cluster_plan.free_subnet(used) == free


def test_no_subnet_left_is_told():
    with pytest.raises(ClusterError, match="delete a cluster first"):
        cluster_plan.free_subnet(["172.16.0.0/12"])


@pytest.mark.parametrize(
    ("cpus", "memory", "flags"),
    [
        ("", "", []),
        ("2", "", ["--cpus=2"]),
        ("500m", "1.5Gi", ["--cpus=0.5", f"--memory={3 << 29}"]),
        ("0.25", "512M", ["--cpus=0.25", "--memory=512000000"]),
    ],
)
def test_limits_are_given_as_kubernetes_does(cpus, memory, flags):
    assert cluster_plan.limit_flags(ClusterPlan("blue", cpus=cpus, memory=memory)) == flags


@pytest.mark.parametrize("text", ["much", "-1", "1Zi", "0"])
@pytest.mark.parametrize("flag", ["cpus", "memory"])
def test_what_is_no_amount_is_told(flag, text):
    with pytest.raises(ClusterError, match=f"--node-{flag}"):
        cluster_plan.limit_flags(ClusterPlan("blue", **{flag: text}))


def test_a_networks_range_follows_from_an_address_in_it():
    place = cluster_plan.control_plane_place("blue", "172.30.7.0/24")
    assert cluster_plan.subnet_of(place.address) == "172.30.7.0/24"


def test_a_nodes_name_is_not_used_twice():
    assert cluster_plan.next_number(["node-1", "node-10", "other"]) == 11


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param([], (0.0, 0), id="none"),
        pytest.param([("cpu.max", "150000 100000"), ("memory.max", "1024")], (1.5, 1024), id="v2"),
        pytest.param([("cpu.max", "max 100000"), ("memory.max", "max")], (0.0, 0), id="v2 free"),
        pytest.param(
            [
                ("cpu.cfs_quota_us", "50000"),
                ("cpu.cfs_period_us", "100000"),
                ("memory.limit_in_bytes", "4096"),
            ],
            (0.5, 4096),
            id="v1",
        ),
        pytest.param(
            [
                ("cpu.cfs_quota_us", "-1"),
                ("cpu.cfs_period_us", "100000"),
                ("memory.limit_in_bytes", "9223372036854771712"),
            ],
            (0.0, 0),
            id="v1 free",
        ),
    ],
)
def test_limits_of_the_container(files, found):
    assert container_services.limits(files) == found


def test_a_limited_node_tells_its_limits_and_its_runtime():
    services = container_services.node(NodeSettings("n", "nerdctl", 1.5, 1 << 30))
    kubelet = services[-1]
    assert kubelet.name == "kubelet"
    assert "--node-cpus=1.5" in kubelet.argv
    assert "--node-memory=1048576Ki" in kubelet.argv
    fake = container_services.node(NodeSettings("n", "fake"))[-1]
    assert "--node-labels=podpath.io/runtime=fake" in fake.argv
    assert fake != kubelet  # a swap of the runtime starts the kubelet anew


def test_who_takes_over_from_nerdctl_removes_its_containers():
    scripts = {}
    for runtime in ("nerdctl", "fake"):
        services = {s.name: s for s in container_services.node(NodeSettings("n", runtime))}
        scripts[runtime] = services["runtime"].argv[-1]
        assert scripts[runtime].endswith(f"echo {runtime} > {container_services.RUNTIME_NOW}")
        assert services["runtime"].once
    assert "--backend=nerdctl" in scripts["fake"]
    assert "--teardown" in scripts["fake"]
    assert "--teardown" not in scripts["nerdctl"]


def test_pods_get_no_name_server_on_the_nodes_loopback():
    text = "search a.b\nnameserver 127.0.0.11\nnameserver 10.0.0.53\noptions ndots:0\n"
    expected = "search a.b\nnameserver 10.0.0.53\noptions ndots:0\n"
    assert container_services.pod_resolv_conf(text) == expected


def test_a_service_waits_for_its_needs_and_backs_off():
    state = State(Service("s", ("s",), needs=("/a", "/b")))
    assert not state.is_due(0.0, lambda path: path == "/a")
    assert state.is_due(0.0, lambda _: True)
    delays = []
    for _ in range(7):
        state.started = 100.0
        state.ended(1, 100.1)
        delays.append(state.delay)
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert not state.is_due(105.0, lambda _: True)
    state.started = 100.0
    state.ended(1, 200.0)  # it had lived for long
    assert state.is_due(200.0, lambda _: True)


def test_a_service_of_one_run_is_done_once_it_succeeds():
    state = State(Service("s", ("s",), once=True))
    state.ended(1, 0.0)
    assert state.is_due(1.0, lambda _: True)
    state.ended(0, 2.0)
    assert not state.is_due(100.0, lambda _: True)
