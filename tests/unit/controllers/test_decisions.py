"""The smaller deciders: ownership, expectations, garbage, Pods to collect, nodes, namespaces."""

import pytest

from controllers import garbage_decisions as garbage
from controllers import namespace, node_decisions, ownership, pod_gc
from controllers.expectations import TIMEOUT_S, Expectations
from controllers.garbage_decisions import Decision, OwnerState
from controllers.manager import selected
from podpath.client.informer import ObjectKey
from podpath.component_base.clock import FakeClock
from podpath.component_base.config import ConfigError
from protos.k8s.core_v1_pb2 import Namespace, Node, Taint
from protos.k8s.meta_v1_pb2 import LabelSelector, ObjectMeta, OwnerReference
from tests.support.controllers import NOW, a_pod, a_replica_set

KEY = ObjectKey("ns", "web")


def test_expectations_are_met_by_what_is_seen():
    expectations = Expectations(FakeClock())
    assert expectations.satisfied(KEY)
    expectations.expect_creations(KEY, 2)
    expectations.creation_observed(KEY)
    assert not expectations.satisfied(KEY)
    expectations.creation_observed(KEY)
    assert expectations.satisfied(KEY)
    expectations.expect_deletions(KEY, ["a", "b"])
    expectations.deletion_observed(KEY, "a")
    expectations.deletion_observed(KEY, "a")
    expectations.deletion_observed(KEY, "of another")
    assert not expectations.satisfied(KEY)
    expectations.deletion_observed(KEY, "b")
    assert expectations.satisfied(KEY)


def test_expectations_expire():
    clock = FakeClock()
    expectations = Expectations(clock)
    expectations.expect_creations(KEY, 1)
    clock.step(TIMEOUT_S)
    assert not expectations.satisfied(KEY)
    clock.step(1)
    assert expectations.satisfied(KEY)


def _claim(pods, deleting=False):
    owner = a_replica_set("web-1").metadata
    if deleting:
        owner.deletionTimestamp.seconds = NOW
    matches = ownership.matcher(LabelSelector(matchLabels={"app": "web"}))
    decided = ownership.decide_claims(owner, matches, pods)
    return tuple(
        [pod.metadata.name for pod in part]
        for part in (decided.owned, decided.adopt, decided.release)
    )


def _other_label(pod):
    pod.metadata.labels["app"] = "other"
    return pod


def _deleting(pod):
    pod.metadata.deletionTimestamp.seconds = NOW
    return pod


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(a_pod("p", owner="web-1"), (["p"], [], []), id="own"),
        pytest.param(a_pod("p"), ([], ["p"], []), id="orphan"),
        pytest.param(_other_label(a_pod("p")), ([], [], []), id="orphan of others"),
        pytest.param(_other_label(a_pod("p", owner="web-1")), ([], [], ["p"]), id="relabelled"),
        pytest.param(a_pod("p", owner="web-2"), ([], [], []), id="another's"),
        pytest.param(_deleting(a_pod("p")), ([], [], []), id="orphan that leaves"),
    ],
)
def test_claims(pod, expected):
    assert _claim([pod]) == expected


def test_a_leaving_owner_takes_and_gives_nothing():
    pods = [a_pod("orphan"), _other_label(a_pod("own", owner="web-1"))]
    assert _claim(pods, deleting=True) == ([], [], [])


def _refs(*states):
    return [(OwnerReference(uid=f"u{n}"), state) for n, state in enumerate(states)]


S, A, W = OwnerState.SOLID, OwnerState.ABSENT, OwnerState.WAITING


@pytest.mark.parametrize(
    ("owners", "has_dependents", "finalizers", "expected"),
    [
        pytest.param(_refs(), False, [], Decision(), id="no owner"),
        pytest.param(_refs(S), False, [], Decision(), id="owner there"),
        pytest.param(_refs(S, A, W), True, [], Decision(drop=("u1", "u2")), id="one stays"),
        pytest.param(_refs(A), True, [], Decision(delete=True, policy="Background"), id="gone"),
        pytest.param(_refs(W), False, [], Decision(delete=True, policy="Background"), id="leaf"),
        pytest.param(
            _refs(W), True, [], Decision(delete=True, policy="Foreground"), id="foreground below"
        ),
        pytest.param(
            _refs(A), True, ["orphan"], Decision(delete=True, policy="Orphan"), id="orphan"
        ),
        pytest.param(
            _refs(A, A),
            False,
            ["foregroundDeletion"],
            Decision(delete=True, policy="Foreground"),
            id="foreground itself",
        ),
    ],
)
def test_garbage(owners, has_dependents, finalizers, expected):
    meta = ObjectMeta(finalizers=finalizers)
    assert garbage.decide(meta, owners, has_dependents=has_dependents) == expected


def test_a_circle_of_owners_is_opened():
    pod = a_pod(owner="web-1")
    pod.metadata.ownerReferences[0].blockOwnerDeletion = True
    owners = [(pod.metadata.ownerReferences[0], OwnerState.WAITING)]
    decided = garbage.decide(pod.metadata, owners, has_dependents=True, a_dependent_waits=True)
    assert decided == Decision(delete=True, policy="Foreground", unblock=True)
    assert garbage.unblock_owners(pod.metadata)
    assert not garbage.blocks_owner(pod.metadata, "uid-web-1")
    assert not garbage.unblock_owners(pod.metadata)


def test_only_blocking_references_hold_an_owner():
    pod = a_pod(owner="web-1")
    assert not garbage.blocks_owner(pod.metadata, "uid-web-1")
    pod.metadata.ownerReferences[0].blockOwnerDeletion = True
    assert garbage.blocks_owner(pod.metadata, "uid-web-1")
    assert not garbage.blocks_owner(pod.metadata, "uid-other")


def _names(pods):
    return [pod.metadata.name for pod in pods]


def test_finished_pods_beyond_the_threshold_go_oldest_first():
    pods = [a_pod(f"p{n}", phase="Succeeded", created=NOW + n) for n in range(4)]
    pods[3].status.reason = "Evicted"
    pods.append(a_pod("runs", created=NOW - 99))
    assert _names(pod_gc.surplus_terminated(pods, 2)) == ["p3", "p0"]
    assert pod_gc.surplus_terminated(pods, 4) == []
    assert pod_gc.surplus_terminated(pods, 0) == []


def test_pods_that_no_kubelet_will_end():
    pods = [_deleting(a_pod("a", node="")), _deleting(a_pod("b")), a_pod("c", node="")]
    assert _names(pod_gc.unscheduled_terminating(pods)) == ["a"]
    assert _names(pod_gc.orphaned(pods, {"n"})) == ["b"]


def _node(ready=None, *, unschedulable=False, taints=()):
    node = Node()
    node.metadata.name = "n"
    node.spec.unschedulable = unschedulable
    node.spec.taints.extend(taints)
    if ready is not None:
        node.status.conditions.add(type="Ready", status=ready)
    return node


NR, UR = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        pytest.param(_node("True"), set(), id="ready"),
        pytest.param(_node(), set(), id="never spoke"),
        pytest.param(_node("False"), {(NR, "NoSchedule"), (NR, "NoExecute")}, id="not ready"),
        pytest.param(_node("Unknown"), {(UR, "NoSchedule"), (UR, "NoExecute")}, id="unknown"),
        pytest.param(
            _node("True", unschedulable=True),
            {("node.kubernetes.io/unschedulable", "NoSchedule")},
            id="cordoned",
        ),
        pytest.param(
            _node("True", taints=[Taint(key=NR, effect="NoExecute"), Taint(key="x", effect="y")]),
            {("x", "y")},
            id="recovered, others' kept",
        ),
        pytest.param(
            _node("Unknown", taints=[Taint(key=NR, effect="NoExecute")]),
            {(UR, "NoSchedule"), (UR, "NoExecute")},
            id="from not ready to unreachable",
        ),
    ],
)
def test_taints(node, expected):
    schedule = node_decisions.schedule_taints(node)
    assert {(t.key, t.effect) for t in schedule if t.effect != "NoExecute"} == {
        (key, effect) for key, effect in expected if effect != "NoExecute"
    }
    execute = node_decisions.execute_taints(node, NOW)
    assert {(t.key, t.effect) for t in execute if t.effect != "NoSchedule"} == {
        (key, effect) for key, effect in expected if effect != "NoSchedule"
    }


@pytest.mark.parametrize(
    ("ready", "taints", "change"),
    [
        pytest.param("True", [], "NONE", id="well"),
        pytest.param("True", [UR], "REMOVE", id="back"),
        pytest.param("Unknown", [], "ADD", id="silent"),
        pytest.param("Unknown", [UR], "NONE", id="silent and tainted"),
        pytest.param("Unknown", [NR], "SWAP", id="was not ready, now silent"),
        pytest.param("False", [UR], "SWAP", id="was silent, now not ready"),
        pytest.param(None, [], "NONE", id="never spoke"),
        pytest.param("True", ["other"], "NONE", id="others' taints"),
    ],
)
def test_what_happens_to_the_taint_that_evicts(ready, taints, change):
    node = _node(ready, taints=[Taint(key=key, effect="NoExecute") for key in taints])
    assert node_decisions.execute_change(node).name == change


def test_the_time_of_a_taint_stays():
    taint = Taint(key=NR, effect="NoExecute")
    taint.timeAdded.seconds = 5
    wanted = node_decisions.execute_taints(_node("False", taints=[taint]), NOW)
    assert [t.timeAdded.seconds for t in wanted if t.effect == "NoExecute"] == [5]


def test_silence_makes_conditions_unknown_once():
    node = _node("True")
    assert node_decisions.mark_unknown(node, NOW)
    found = {c.type: (c.status, c.reason) for c in node.status.conditions}
    assert found["Ready"] == ("Unknown", "NodeStatusUnknown")
    assert found["DiskPressure"] == ("Unknown", "NodeStatusNeverUpdated")
    assert not node_decisions.mark_unknown(node, NOW)


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        pytest.param([], 0.0, id="none"),
        pytest.param([{"key": NR, "operator": "Exists", "effect": "NoExecute"}], None, id="ever"),
        pytest.param([{"operator": "Exists"}], None, id="everything"),
        pytest.param(
            [{"key": NR, "operator": "Exists", "tolerationSeconds": 300}], 290.0, id="for a time"
        ),
        pytest.param(
            [{"key": NR, "operator": "Exists", "tolerationSeconds": 5}], 0.0, id="time is over"
        ),
        pytest.param(
            [{"key": NR, "operator": "Exists", "effect": "NoSchedule"}], 0.0, id="other effect"
        ),
        pytest.param([{"key": NR, "operator": "Equal", "value": "x"}], 0.0, id="other value"),
        pytest.param(
            [{"key": NR, "operator": "Exists", "tolerationSeconds": -1}], 0.0, id="negative"
        ),
    ],
)
def test_when_a_pod_has_to_leave(tolerations, expected):
    taint = Taint(key=NR, effect="NoExecute")
    taint.timeAdded.seconds = NOW - 10
    pod = a_pod()
    for toleration in tolerations:
        pod.spec.tolerations.add(**toleration)
    assert node_decisions.decide_eviction(pod, [taint], NOW).after_s == expected
    other = Taint(key=NR, effect="NoSchedule")
    assert node_decisions.decide_eviction(pod, [other], NOW).after_s is None


def test_a_namespace_says_what_holds_it_up():
    held = Namespace()
    left = namespace.Remaining({"pods": 2, "secrets": 1}, {"example.com/x": 1})
    assert namespace.set_conditions(held, left, NOW)
    found = {c.type: (c.status, c.message) for c in held.status.conditions}
    assert found["NamespaceContentRemaining"] == (
        "True",
        "Some resources are remaining: pods has 2 resource instances, "
        "secrets has 1 resource instances",
    )
    assert found["NamespaceFinalizersRemaining"][0] == "True"
    assert found["NamespaceDeletionContentFailure"][0] == "False"
    assert not namespace.set_conditions(held, left, NOW + 5)
    assert namespace.set_conditions(held, namespace.Remaining({"pods": 1}), NOW + 5)
    content = next(c for c in held.status.conditions if c.type == "NamespaceContentRemaining")
    assert content.lastTransitionTime.seconds == NOW


@pytest.mark.parametrize(
    ("wanted", "has", "not_has"),
    [
        pytest.param(["*"], "replicaset-controller", "none", id="all"),
        pytest.param(
            ["*", "-replicaset-controller"],
            "deployment-controller",
            "replicaset-controller",
            id="all but",
        ),
        pytest.param(
            ["namespace-controller"], "namespace-controller", "deployment-controller", id="one"
        ),
    ],
)
def test_which_controllers_run(wanted, has, not_has):
    names = selected(wanted, has_root_ca=True)
    assert has in names
    assert not_has not in names


def test_controllers_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match="nonsense: not one of"):
        selected(["*", "-nonsense"], has_root_ca=True)


def test_no_bundle_no_publisher():
    name = "root-ca-certificate-publisher-controller"
    assert name in selected(["*"], has_root_ca=True)
    assert name not in selected(["*"], has_root_ca=False)
