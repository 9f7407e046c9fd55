from datetime import UTC, datetime

import pytest

from kubelet.machine import Machine, Usage
from kubelet.node_object import (
    NodeHealth,
    NodeIdentity,
    new_node,
    parse_taint,
    same_but_heartbeat,
    set_status,
)
from kubelet.pod_admission import NodeOffer, admit, resident
from kubelet.server_auth import attributes_of, caller_of
from protos.k8s import core_v1_pb2 as core
from tests.support.kubelet_objects import pod_of

IDENTITY = NodeIdentity("n1", Machine(4000, 8 << 30, 100 << 30), ("10.0.0.1",), 10250)
PLENTY = Usage(8 << 30, 90 << 30, 100 << 30, 1000)
NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("usage", "problems", "expected"),
    [
        pytest.param(PLENTY, (), ("False", "False", "False", "True"), id="well"),
        pytest.param(
            Usage(50 << 20, 90 << 30, 100 << 30, 1000),
            (),
            ("True", "False", "False", "True"),
            id="memory",
        ),
        pytest.param(
            Usage(8 << 30, 1 << 30, 100 << 30, 1000),
            (),
            ("False", "True", "False", "True"),
            id="disk",
        ),
        pytest.param(
            Usage(8 << 30, 90 << 30, 100 << 30, 0), (), ("False", "False", "True", "True"), id="pid"
        ),
        pytest.param(PLENTY, ("down",), ("False", "False", "False", "False"), id="not ready"),
    ],
)
def test_conditions(usage, problems, expected):
    node = new_node(IDENTITY)
    set_status(node, IDENTITY, NodeHealth(problems, usage), NOW)
    assert tuple(c.status for c in node.status.conditions) == expected


def test_amounts():
    node = new_node(IDENTITY)
    set_status(node, IDENTITY, NodeHealth((), PLENTY), NOW)
    assert node.status.capacity["memory"].string == f"{8 << 20}Ki"
    assert node.status.allocatable["memory"].string == f"{(8 << 20) - (100 << 10)}Ki"
    assert node.status.capacity["pods"].string == "110"


def test_only_the_heartbeat_differs():
    first, second = new_node(IDENTITY), new_node(IDENTITY)
    set_status(first, IDENTITY, NodeHealth((), PLENTY), NOW)
    second.CopyFrom(first)
    later = datetime(2024, 1, 2, tzinfo=UTC)
    set_status(second, IDENTITY, NodeHealth((), PLENTY), later)
    assert same_but_heartbeat(first.status, second.status)
    set_status(second, IDENTITY, NodeHealth(("down",), PLENTY), later)
    assert not same_but_heartbeat(first.status, second.status)


def test_taints():
    assert parse_taint("a=b:NoSchedule") == core.Taint(key="a", value="b", effect="NoSchedule")
    assert parse_taint("a:NoExecute") == core.Taint(key="a", effect="NoExecute")
    with pytest.raises(ValueError, match="expected KEY"):
        parse_taint("a=b")


def offer(taints=(), **labels):
    node = core.Node()
    node.metadata.name = "n1"
    node.metadata.labels.update(labels)
    node.spec.taints.extend(taints)
    return NodeOffer(node, {"cpu": 1000, "memory": 1 << 30, "pods": 2})


def assigned(cpu="", **labels):
    pod = pod_of("a")
    pod.spec.nodeName = "n1"
    pod.metadata.labels.update(labels)
    if cpu:
        pod.spec.containers[0].resources.requests["cpu"].string = cpu
    return pod


def on_port(port, ip="", protocol="TCP"):
    pod = assigned()
    pod.spec.containers[0].ports.add(containerPort=80, hostPort=port, hostIP=ip, protocol=protocol)
    return pod


def judged(pod, others=(), on=None):
    return admit(pod, resident(pod), [resident(other) for other in others], on or offer())


@pytest.mark.parametrize(
    ("pod", "others", "reason"),
    [
        pytest.param(assigned("1"), [], None, id="just fits"),
        pytest.param(assigned("1"), [assigned("1m")], "OutOfcpu", id="no cpu left"),
        pytest.param(assigned(), [assigned(), assigned()], "OutOfpods", id="too many Pods"),
        pytest.param(on_port(80), [on_port(81)], None, id="another port"),
        pytest.param(on_port(80), [on_port(80)], "NodePorts", id="the port is taken"),
        pytest.param(on_port(80), [on_port(80, protocol="UDP")], None, id="another protocol"),
        pytest.param(
            on_port(80, "10.0.0.1"), [on_port(80, "10.0.0.2")], None, id="another address"
        ),
        pytest.param(on_port(80, "10.0.0.1"), [on_port(80)], "NodePorts", id="on any address"),
        pytest.param(
            assigned(**{"kubernetes.io/os": "windows"}),
            [],
            "PodOSSelectorNodeLabelDoesNotMatch",
            id="of another system",
        ),
    ],
)
def test_admission(pod, others, reason):
    verdict = judged(pod, others)
    assert (verdict.reason if verdict else None) == reason


def test_what_a_rejected_pod_is_told():
    assert judged(on_port(80), [on_port(80)]).message == (
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    )
    assert judged(assigned("600m"), [assigned("500m")]).message == (
        "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000"
    )


def test_admission_by_node_selector_and_affinity():
    pod = assigned()
    pod.spec.nodeSelector["disk"] = "ssd"
    assert judged(pod, on=offer(disk="ssd")) is None
    assert judged(pod, on=offer(disk="hdd")).reason == "NodeAffinity"
    required = assigned()
    affinity = required.spec.affinity.nodeAffinity
    term = affinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.add()
    term.matchExpressions.add(key="zone", operator="In", values=["a", "b"])
    assert judged(required, on=offer(zone="b")) is None
    assert judged(required, on=offer(zone="c")).reason == "NodeAffinity"


def test_admission_by_taints():
    """Of an assigned Pod only NoExecute counts."""
    taint = core.Taint(key="broken", effect="NoExecute")
    pod = assigned()
    assert judged(pod, on=offer([core.Taint(key="full", effect="NoSchedule")])) is None
    assert judged(pod, on=offer([taint])).reason == "TaintToleration"
    pod.spec.tolerations.add(key="broken", operator="Exists")
    assert judged(pod, on=offer([taint])) is None


def test_caller_is_the_certificates_subject():
    subject = (
        (("organizationName", "system:masters"),),
        (("commonName", "kube-apiserver-kubelet-client"),),
    )
    caller = caller_of({"subject": subject})
    assert caller.user == "kube-apiserver-kubelet-client"
    assert caller.groups == ("system:masters", "system:authenticated")
    assert caller_of(None) is None
    assert caller_of({"subject": ()}) is None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/containerLogs/a/b/c", ("get", ("proxy",))),
        ("POST", "/exec/a/b/c", ("create", ("proxy",))),
        ("GET", "/stats/summary", ("get", ("stats",))),
        ("GET", "/pods", ("get", ("pods", "proxy"))),
        ("GET", "/metrics", ("get", ("metrics",))),
    ],
)
def test_what_is_asked_of_the_api_server(method, path, expected):
    assert attributes_of(method, path) == expected
