"""The Pod network's pure parts."""

import sys

import pytest

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim import command, network, stop_signal
from runtime_shim.backends.nerdctl_images import docker_config, index, pull_error
from runtime_shim.errors import Code
from runtime_shim.node_facts import capabilities


def test_resolv_conf() -> None:
    dns = cri.DNSConfig(servers=["10.0.0.10"], searches=["a.b", "c"], options=["ndots:5"])
    assert network.resolv_conf(dns, "node's") == (
        "search a.b c\nnameserver 10.0.0.10\noptions ndots:5\n"
    )
    assert network.resolv_conf(cri.DNSConfig(), "node's") == "node's"


def test_only_ports_of_the_node_are_mapped() -> None:
    config = cri.PodSandboxConfig()
    config.port_mappings.add(container_port=80)
    config.port_mappings.add(container_port=53, host_port=5300, protocol=cri.UDP, host_ip="1.2.3.4")
    assert network.host_ports(config) == ((5300, 53, "udp", "1.2.3.4"),)


@pytest.mark.skipif(sys.byteorder != "little", reason="the table below is little-endian")
@pytest.mark.parametrize(
    ("cidr", "own", "taken"),
    [
        ("10.188.0.0/24", "", "br0"),
        ("10.188.0.0/24", "br0", ""),
        ("10.188.0.128/25", "", "br0"),
        ("10.0.0.0/8", "", "br0"),
        ("10.189.0.0/24", "", ""),
    ],
)
def test_overlapping_networks_are_found(cidr: str, own: str, taken: str) -> None:
    routes = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t01020304\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "br0\t0000BC0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert network.taken_by(cidr, own, routes) == taken


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGTERM", 15), ("KILL", 9), ("3", 3), ("SIGRTMINPLUS3", 37), ("RTMIN+3", 37), ("odd", 15)],
)
def test_signals_by_any_name(name: str, number: int) -> None:
    assert stop_signal.number(name) == number


@pytest.mark.parametrize(
    ("auth", "host", "entry"),
    [
        (cri.AuthConfig(username="u", password="p"), "r.example", {"auth": "dTpw"}),
        (cri.AuthConfig(auth="abc"), "r.example", {"auth": "abc"}),
        (cri.AuthConfig(identity_token="t"), "r.example", {"identitytoken": "t"}),
    ],
)
def test_docker_config(auth: cri.AuthConfig, host: str, entry: dict[str, str]) -> None:
    assert docker_config(f"{host}/a:b", auth) == {"auths": {host: entry}}
    assert docker_config("x/y:z", cri.AuthConfig()) == {}


@pytest.mark.parametrize(
    ("complaint", "code"),
    [
        ("a/b:c: not found", Code.NOT_FOUND),
        ("dial tcp 1.2.3.4:443: connect: connection refused", Code.UNAVAILABLE),
        ("unexpected status: 401 Unauthorized", Code.PERMISSION_DENIED),
        ("the moon", Code.UNKNOWN),
    ],
)
def test_pull_errors(complaint: str, code: Code) -> None:
    error = pull_error("a/b:c", complaint)
    assert error.code is code
    assert complaint in error.message


def test_names_of_one_image_are_gathered() -> None:
    def entry(name: str) -> dict[str, object]:
        return {
            "Image": {"Name": name, "Target": {"digest": "sha256:m"}},
            "ImageConfigDesc": {"digest": "sha256:c"},
            "ImageConfig": {"config": {"User": "1002:5"}},
            "Manifest": {"layers": [{"size": 3}, {"size": 4}]},
        }

    by_id, by_name = index([entry("r/a:1"), entry("r/a:2"), entry("r/a@sha256:m")])
    (known,) = by_id.values()
    assert list(known.image.repo_tags) == ["r/a:1", "r/a:2"]
    assert list(known.image.repo_digests) == ["r/a@sha256:m"]
    assert (known.image.size, known.image.uid.value, known.image.username) == (7, 1002, "")
    assert set(by_name) == {"r/a:1", "r/a:2", "r/a@sha256:m"}


def test_capabilities_of_the_node() -> None:
    assert capabilities("Name:\tx\nCapBnd:\t0000000000000021\n") == ("CHOWN", "KILL")


def test_arrays_one_after_another_are_one_list() -> None:
    assert command.json_entries(b'[{"a": 1}]\n[{"b": 2}, 3]\n[]\n') == [{"a": 1}, {"b": 2}, 3]
    assert command.json_entries(b"") == []
