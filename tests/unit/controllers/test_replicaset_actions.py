import pytest

from controllers import pods
from controllers import replicaset_actions as actions
from controllers.pods import DELETION_COST
from tests.support.controllers import NOW, a_pod, a_replica_set


def _names(found):
    return [pod.metadata.name for pod in found]


def _with(pod, **changes):
    for path, value in changes.items():
        if path == "cost":
            pod.metadata.annotations[DELETION_COST] = value
        elif path == "restarts":
            pod.status.containerStatuses.add(name="c", restartCount=value)
        elif path == "not_ready":
            pod.status.conditions[0].status = "False"
    return pod


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(a_pod("b", node=""), a_pod("a"), id="unassigned"),
        pytest.param(a_pod("b", phase="Pending"), a_pod("a", phase="Unknown"), id="pending"),
        pytest.param(a_pod("b", phase="Unknown"), a_pod("a"), id="unknown"),
        pytest.param(a_pod("b"), a_pod("a", ready_since=NOW - 1), id="not ready"),
        pytest.param(
            _with(a_pod("b", ready_since=NOW - 9000), cost="-5"),
            a_pod("a", ready_since=NOW - 1),
            id="cheap",
        ),
        pytest.param(
            a_pod("b", node="busy", ready_since=NOW - 9000),
            a_pod("a", ready_since=NOW - 1),
            id="busy node",
        ),
        pytest.param(
            a_pod("b", ready_since=NOW - 10), a_pod("a", ready_since=NOW - 1000), id="young"
        ),
        pytest.param(
            a_pod("a", ready_since=NOW - 1000), a_pod("b", ready_since=NOW - 1010), id="same age"
        ),
        pytest.param(_with(a_pod("b"), restarts=3), _with(a_pod("a"), restarts=1), id="restarted"),
        pytest.param(a_pod("b", created=NOW - 10), a_pod("a", created=NOW - 9999), id="created"),
    ],
)
def test_who_goes_first(first, second):
    nodes = {"busy": 5, "n": 1}
    for order in ([first, second], [second, first]):
        assert _names(pods.select_for_deletion(order, 1, nodes, NOW)) == [first.metadata.name]


def test_a_cost_that_is_no_number_counts_as_nothing():
    bad = _with(a_pod("a", ready_since=NOW - 1000), cost="cheap")
    dear = _with(a_pod("b", ready_since=NOW - 1), cost="1")
    assert _names(pods.select_for_deletion([dear, bad], 1, {}, NOW)) == ["a"]


@pytest.mark.parametrize(
    ("wanted", "present", "create", "delete"),
    [
        pytest.param(3, 0, 3, 0, id="none there"),
        pytest.param(3, 3, 0, 0, id="enough"),
        pytest.param(1, 3, 0, 2, id="too many"),
        pytest.param(0, 2, 0, 2, id="zero"),
        pytest.param(9000, 1, 500, 0, id="burst of creations"),
        pytest.param(0, 600, 0, 500, id="burst of deletions"),
    ],
)
def test_how_many(wanted, present, create, delete):
    active = [a_pod(f"p{n}") for n in range(present)]
    decided = actions.decide_replicas(a_replica_set(replicas=wanted), active, active, NOW)
    assert (decided.create, len(decided.delete)) == (create, delete)
    assert decided.difference == present - wanted


def test_replicas_default_to_one():
    replica_set = a_replica_set()
    replica_set.spec.ClearField("replicas")
    assert actions.wanted_replicas(replica_set) == 1


def test_a_pod_is_made_from_the_template():
    replica_set = a_replica_set("web-1")
    replica_set.spec.template.metadata.annotations["a"] = "b"
    pod = actions.pod_from_template(replica_set)
    assert (pod.metadata.generateName, pod.metadata.namespace) == ("web-1-", "ns")
    assert dict(pod.metadata.labels) == {"app": "web"}
    assert dict(pod.metadata.annotations) == {"a": "b"}
    (owner,) = pod.metadata.ownerReferences
    assert (owner.kind, owner.uid, owner.controller, owner.blockOwnerDeletion) == (
        "ReplicaSet",
        "uid-web-1",
        True,
        True,
    )


def test_the_status_counts():
    replica_set = a_replica_set()
    replica_set.metadata.generation = 4
    replica_set.spec.minReadySeconds = 10
    replica_set.spec.template.metadata.labels["tier"] = "x"
    labeled = a_pod("labeled", ready_since=NOW - 11)
    labeled.metadata.labels["tier"] = "x"
    young = a_pod("young", ready_since=NOW - 4)
    status = actions.compute_status(replica_set, [labeled, young, a_pod("waits")], None, NOW)
    assert (status.replicas, status.fullyLabeledReplicas) == (3, 1)
    assert (status.readyReplicas, status.availableReplicas) == (2, 1)
    assert status.observedGeneration == 4
    assert actions.next_look_s([labeled, young], 10, NOW) == 6
    assert actions.next_look_s([labeled], 10, NOW) is None


def test_a_failure_is_noted_once_and_taken_back():
    replica_set = a_replica_set()
    failure = actions.Failure("FailedCreate", "quota")
    status = actions.compute_status(replica_set, [], failure, NOW)
    replica_set.status.CopyFrom(status)
    (condition,) = status.conditions
    assert (condition.type, condition.reason) == ("ReplicaFailure", "FailedCreate")
    again = actions.compute_status(
        replica_set, [], actions.Failure("FailedCreate", "other"), NOW + 9
    )
    assert again == status
    assert not actions.compute_status(replica_set, [], None, NOW).conditions
