"""What resolv.conf holds, by policy."""

import pytest

from kubelet.dns import Dns, dns_config, parse_resolv_conf
from protos.k8s import core_v1_pb2 as core

NODE = Dns(
    cluster_servers=("10.96.0.10",),
    host_servers=("1.1.1.1", "2.2.2.2"),
    host_searches=("corp.example",),
    host_options=("timeout:1",),
)
OF_THE_CLUSTER = ["a.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"]


def pod(policy: str = "", *, host_network: bool = False) -> core.Pod:
    made = core.Pod()
    made.metadata.namespace = "a"
    made.spec.dnsPolicy, made.spec.hostNetwork = policy, host_network
    return made


@pytest.mark.parametrize(
    ("given", "servers", "searches", "options"),
    [
        pytest.param(pod(), ["10.96.0.10"], OF_THE_CLUSTER, ["ndots:5"], id="default"),
        pytest.param(
            pod("ClusterFirst", host_network=True),
            ["1.1.1.1", "2.2.2.2"],
            ["corp.example"],
            ["timeout:1"],
            id="the host's network",
        ),
        pytest.param(
            pod("ClusterFirstWithHostNet", host_network=True),
            ["10.96.0.10"],
            OF_THE_CLUSTER,
            ["ndots:5"],
            id="the host's network, the cluster's names",
        ),
        pytest.param(
            pod("Default"),
            ["1.1.1.1", "2.2.2.2"],
            ["corp.example"],
            ["timeout:1"],
            id="the node's",
        ),
        pytest.param(pod("None"), [], [], [], id="none"),
    ],
)
def test_policies(
    given: core.Pod, servers: list[str], searches: list[str], options: list[str]
) -> None:
    config = dns_config(given, NODE)
    assert (list(config.servers), list(config.searches), list(config.options)) == (
        servers,
        searches,
        options,
    )


def test_a_pods_own_settings_are_added() -> None:
    given = pod()
    own = given.spec.dnsConfig
    own.nameservers.extend(["10.96.0.10", "3.3.3.3", "4.4.4.4", "5.5.5.5"])
    own.searches.extend(["cluster.local", "more.example"])
    own.options.add(name="ndots", value="2")
    own.options.add(name="edns0")
    config = dns_config(given, NODE)
    assert list(config.servers) == ["10.96.0.10", "3.3.3.3", "4.4.4.4"]
    assert list(config.searches) == [*OF_THE_CLUSTER, "more.example"]
    assert list(config.options) == ["ndots:2", "edns0"]


def test_the_last_line_of_a_kind_counts() -> None:
    text = (
        "search a b\nnameserver 1.1.1.1\nsearch c\noptions x y:1\nnameserver 2.2.2.2\n# search d\n"
    )
    assert parse_resolv_conf(text) == (("1.1.1.1", "2.2.2.2"), ("c",), ("x", "y:1"))
    assert parse_resolv_conf("") == ((), (), ())
