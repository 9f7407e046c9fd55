"""Tables for the plugins' filters and scores."""

import pytest

from protos.k8s.core_v1_pb2 import Node, Pod
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.status import SUCCESS, Code
from scheduler.node_info import NodeInfo, PodInfo
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_name import NodeName
from scheduler.plugins.node_resources_fit import NodeResourcesFit
from scheduler.plugins.node_unschedulable import NodeUnschedulable
from scheduler.plugins.scheduling_gates import SchedulingGates
from scheduler.plugins.taint_toleration import TaintToleration

GI = 1024**3


def pod(name="p", *, requests=None, **spec) -> Pod:
    built = Pod(spec=spec)
    built.metadata.name = name
    built.metadata.namespace = "default"
    built.metadata.uid = f"uid-{name}"
    container = built.spec.containers.add(name="c")
    for resource, amount in (requests or {}).items():
        container.resources.requests[resource].string = amount
    return built


def node(name="n", *, labels=None, allocatable=None, pods=(), **spec) -> NodeInfo:
    built = Node(spec=spec)
    built.metadata.name = name
    built.metadata.labels.update(labels or {})
    for resource, amount in {
        "cpu": "4",
        "memory": "8Gi",
        "pods": "110",
        **(allocatable or {}),
    }.items():
        built.status.allocatable[resource].string = amount
    info = NodeInfo(name)
    info.set_node(built)
    for member in pods:
        info.add(PodInfo(member))
    return info


def taint(key, value="", effect="NoSchedule"):
    return {"key": key, "value": value, "effect": effect}


def term(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def required(*terms):
    selector = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


@pytest.mark.parametrize(
    ("plugin", "a_pod", "a_node", "reasons"),
    [
        pytest.param(NodeName(), pod(nodeName="n"), node(), None, id="named"),
        pytest.param(
            NodeName(),
            pod(nodeName="m"),
            node(),
            ["node(s) didn't match the requested node name"],
            id="another is named",
        ),
        pytest.param(
            NodeUnschedulable(),
            pod(),
            node(unschedulable=True),
            ["node(s) were unschedulable"],
            id="cordoned",
        ),
        pytest.param(
            NodeUnschedulable(),
            pod(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]),
            node(unschedulable=True),
            None,
            id="cordoned, tolerated",
        ),
        pytest.param(
            TaintToleration(),
            pod(),
            node(taints=[taint("k", "v")]),
            ["node(s) had untolerated taint {k: v}"],
            id="taint not tolerated",
        ),
        pytest.param(
            TaintToleration(),
            pod(),
            node(taints=[taint("k", "v", "PreferNoSchedule")]),
            None,
            id="soft taint",
        ),
        pytest.param(
            TaintToleration(),
            pod(tolerations=[{"key": "k", "value": "v"}]),
            node(taints=[taint("k", "v")]),
            None,
            id="equal",
        ),
        pytest.param(
            TaintToleration(),
            pod(tolerations=[{"key": "k", "value": "w"}]),
            node(taints=[taint("k", "v")]),
            ["node(s) had untolerated taint {k: v}"],
            id="another value",
        ),
        pytest.param(
            TaintToleration(),
            pod(tolerations=[{"operator": "Exists"}]),
            node(taints=[taint("k", "v", "NoExecute")]),
            None,
            id="tolerates everything",
        ),
        pytest.param(
            TaintToleration(),
            pod(tolerations=[{"key": "k", "operator": "Exists", "effect": "NoSchedule"}]),
            node(taints=[taint("k", "", "NoExecute")]),
            ["node(s) had untolerated taint {k: }"],
            id="another effect",
        ),
        pytest.param(
            NodeAffinity(),
            pod(nodeSelector={"disk": "ssd"}),
            node(labels={"disk": "ssd"}),
            None,
            id="selector holds",
        ),
        pytest.param(
            NodeAffinity(),
            pod(nodeSelector={"disk": "ssd"}),
            node(),
            ["node(s) didn't match Pod's node affinity/selector"],
            id="selector does not hold",
        ),
        pytest.param(
            NodeAffinity(),
            pod(affinity=required(term("z", "In", "a", "b"))),
            node(labels={"z": "b"}),
            None,
            id="In",
        ),
        pytest.param(
            NodeAffinity(),
            pod(affinity=required(term("z", "NotIn", "a"))),
            node(),
            None,
            id="NotIn of an absent key",
        ),
        pytest.param(
            NodeAffinity(),
            pod(affinity=required(term("z", "Gt", "5"))),
            node(labels={"z": "6"}),
            None,
            id="Gt",
        ),
        pytest.param(
            NodeAffinity(),
            pod(affinity=required(term("z", "Gt", "5"))),
            node(labels={"z": "x"}),
            ["node(s) didn't match Pod's node affinity/selector"],
            id="Gt of no number",
        ),
        pytest.param(
            NodeAffinity(),
            pod(affinity=required({})),
            node(),
            ["node(s) didn't match Pod's node affinity/selector"],
            id="an empty term matches nothing",
        ),
        pytest.param(
            NodeAffinity(),
            pod(affinity=required(term("q", "Exists"), term("z", "DoesNotExist"))),
            node(),
            None,
            id="terms are alternatives",
        ),
        pytest.param(
            NodeAffinity(),
            pod(
                affinity=required(
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
                )
            ),
            node(),
            None,
            id="fields",
        ),
        pytest.param(
            NodeResourcesFit(),
            pod(requests={"cpu": "4", "memory": "8Gi"}),
            node(),
            None,
            id="just fits",
        ),
        pytest.param(
            NodeResourcesFit(),
            pod(requests={"cpu": "4001m"}),
            node(),
            ["Insufficient cpu"],
            id="cpu",
        ),
        pytest.param(
            NodeResourcesFit(),
            pod(requests={"cpu": "5", "memory": "9Gi"}),
            node(),
            ["Insufficient cpu", "Insufficient memory"],
            id="both",
        ),
        pytest.param(
            NodeResourcesFit(),
            pod(),
            node(allocatable={"pods": "1"}, pods=[pod("q")]),
            ["Too many pods"],
            id="pods",
        ),
        pytest.param(
            NodeResourcesFit(),
            pod(requests={"example.com/gpu": "1"}),
            node(),
            ["Insufficient example.com/gpu"],
            id="extended",
        ),
        pytest.param(
            NodeResourcesFit(),
            pod(requests={"cpu": "3"}),
            node(pods=[pod("q", requests={"cpu": "2"})]),
            ["Insufficient cpu"],
            id="used by others",
        ),
    ],
)
def test_filter(plugin, a_pod, a_node, reasons):
    status = plugin.filter(CycleState(), PodInfo(a_pod), a_node)
    assert list(status.reasons) == (reasons or [])
    assert (status is SUCCESS) == (reasons is None)


def test_what_can_never_fit_is_unresolvable():
    fit = NodeResourcesFit()
    crowded = node(pods=[pod("q", requests={"cpu": "3"})])
    assert (
        fit.filter(CycleState(), PodInfo(pod(requests={"cpu": "2"})), crowded).code
        is Code.UNSCHEDULABLE
    )
    assert (
        fit.filter(CycleState(), PodInfo(pod(requests={"cpu": "5"})), crowded).code
        is Code.UNRESOLVABLE
    )


def test_least_allocated_prefers_the_emptier_node():
    fit = NodeResourcesFit()
    a_pod = PodInfo(pod(requests={"cpu": "1", "memory": "2Gi"}))
    assert fit.score(CycleState(), a_pod, node()) == 75
    half = node(pods=[pod("q", requests={"cpu": "2", "memory": "4Gi"})])
    assert fit.score(CycleState(), a_pod, half) == 25


def test_a_pod_that_requests_nothing_is_scored_with_the_defaults():
    # 100m of 4 CPUs leaves 97 %, 200 MiB of 8 GiB leaves 97 %.
    assert NodeResourcesFit().score(CycleState(), PodInfo(pod()), node()) == 97


def test_soft_taints_are_counted_and_reversed():
    plugin, state = TaintToleration(), CycleState()
    a_pod = PodInfo(pod(tolerations=[{"key": "b", "operator": "Exists"}]))
    nodes = [
        node("n0"),
        node(
            "n1",
            taints=[taint("a", effect="PreferNoSchedule"), taint("b", effect="PreferNoSchedule")],
        ),
        node(
            "n2",
            taints=[taint("a", effect="PreferNoSchedule"), taint("c", effect="PreferNoSchedule")],
        ),
    ]
    plugin.pre_score(state, a_pod, nodes)
    scores = [plugin.score(state, a_pod, n) for n in nodes]
    assert scores == [0, 1, 2]
    plugin.normalize(state, a_pod, scores)
    assert scores == [100, 50, 0]


def test_preferred_affinity_adds_weights():
    plugin = NodeAffinity()
    preferred = [
        {"weight": 3, "preference": term("z", "In", "a")},
        {"weight": 1, "preference": term("d", "Exists")},
    ]
    a_pod = PodInfo(
        pod(
            affinity={
                "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
            }
        )
    )
    nodes = [node(labels={"z": "a", "d": ""}), node(labels={"d": ""}), node()]
    scores = [plugin.score(CycleState(), a_pod, n) for n in nodes]
    assert scores == [4, 1, 0]
    plugin.normalize(CycleState(), a_pod, scores)
    assert scores == [100, 25, 0]


def test_gates_keep_a_pod_out():
    gated = PodInfo(pod(schedulingGates=[{"name": "a"}, {"name": "b"}]))
    assert SchedulingGates().pre_enqueue(gated).message == "waiting for scheduling gates: [a b]"
    assert SchedulingGates().pre_enqueue(PodInfo(pod())) is SUCCESS


def test_init_containers_count_by_their_peak_and_sidecars_with_all():
    a_pod = pod(requests={"cpu": "1"})
    for name, cpu, policy in (("side", "500m", "Always"), ("big", "3", None)):
        init = a_pod.spec.initContainers.add(name=name)
        init.resources.requests["cpu"].string = cpu
        if policy:
            init.restartPolicy = policy
    a_pod.spec.overhead["cpu"].string = "100m"
    assert PodInfo(a_pod).request.milli_cpu == 3500 + 100


def test_a_node_counts_what_comes_and_goes():
    info = node()
    member = PodInfo(pod("q", requests={"cpu": "2", "memory": "1Gi", "example.com/gpu": "1"}))
    info.add(member)
    assert (info.requested.milli_cpu, info.requested.memory) == (2000, GI)
    info.remove(member.uid)
    assert (info.requested.milli_cpu, info.requested.memory, info.nonzero_requested.memory) == (
        0,
        0,
        0,
    )
    assert info.requested.scalars == {"example.com/gpu": 0}
