import pytest

from controllers import deployment_revisions as revisions
from controllers import deployment_sizes as sizes
from controllers import deployment_status as progress
from tests.support.controllers import NOW, a_deployment, a_replica_set


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        pytest.param(10, "25%", "25%", (3, 2), id="surge rounds up, unavailable down"),
        pytest.param(4, "25%", "25%", (1, 1), id="even"),
        pytest.param(10, 2, 3, (2, 3), id="numbers"),
        pytest.param(10, 0, "5%", (0, 1), id="never both zero"),
        pytest.param(1, "25%", "25%", (1, 0), id="one"),
    ],
)
def test_fenceposts(replicas, surge, unavailable, expected):
    deployment = a_deployment(replicas=replicas, surge=surge, unavailable=unavailable)
    assert sizes.fenceposts(deployment) == expected


@pytest.mark.parametrize(
    ("wanted", "surge", "new", "old", "expected"),
    [
        pytest.param(10, 0, 0, 10, 0, id="no room"),
        pytest.param(10, 2, 0, 10, 2, id="surge"),
        pytest.param(10, 2, 2, 5, 7, id="room by old ones gone"),
        pytest.param(10, 2, 6, 0, 10, id="not more than wanted"),
        pytest.param(3, 1, 5, 0, 3, id="shrinks at once"),
        pytest.param(3, 1, 2, 9, 2, id="over the limit already"),
    ],
)
def test_how_far_the_new_one_grows(wanted, surge, new, old, expected):
    deployment = a_deployment(replicas=wanted, surge=surge, unavailable=1)
    others = [a_replica_set("old", old)]
    assert sizes.size_of_new(deployment, others, new) == expected


@pytest.mark.parametrize(
    ("unavailable", "new", "old", "expected"),
    [
        pytest.param(0, (4, 4), [(8, 8)], {"o0": 6}, id="only what the new ones replace"),
        pytest.param(2, (0, 0), [(10, 10)], {"o0": 8}, id="what may be missing"),
        pytest.param(2, (5, 0), [(8, 8)], {}, id="new ones not up yet"),
        pytest.param(
            2, (0, 0), [(5, 0), (5, 5)], {"o0": 3}, id="unhealthy first, within the limit"
        ),
        pytest.param(0, (10, 10), [(1, 1), (1, 0)], {"o0": 0, "o1": 0}, id="the end"),
        pytest.param(
            5, (0, 0), [(4, 4), (6, 6)], {"o0": 0, "o1": 5}, id="several old, oldest first"
        ),
    ],
)
def test_how_old_ones_shrink(unavailable, new, old, expected):
    deployment = a_deployment(replicas=10, surge=2, unavailable=unavailable)
    new_set = a_replica_set("new", new[0], availableReplicas=new[1])
    old_sets = [
        a_replica_set(f"o{n}", replicas, availableReplicas=available)
        for n, (replicas, available) in enumerate(old)
    ]
    decided = sizes.shrink_old(deployment, new_set, old_sets)
    assert {r.replica_set.metadata.name: r.replicas for r in decided} == expected


def _sized(name, replicas, noted, surge=0, created=0, available=None):
    result = a_replica_set(
        name, replicas, availableReplicas=replicas if available is None else available
    )
    result.metadata.creationTimestamp.seconds = NOW + created
    result.metadata.annotations[revisions.DESIRED_REPLICAS] = str(noted)
    result.metadata.annotations[revisions.MAX_REPLICAS] = str(noted + surge)
    return result


@pytest.mark.parametrize(
    ("wanted", "new", "old", "expected"),
    [
        pytest.param(5, _sized("new", 3, 3), [], {"new": 5}, id="only one"),
        pytest.param(3, _sized("new", 3, 3), [], {}, id="nothing to do"),
        pytest.param(
            3, _sized("new", 3, 3), [_sized("old", 2, 3)], {"old": 0}, id="rollout is over"
        ),
        pytest.param(
            20,
            _sized("new", 4, 10, created=1),
            [_sized("old", 6, 10)],
            {"old": 12, "new": 8},
            id="grows in proportion",
        ),
        pytest.param(
            5,
            _sized("new", 4, 10, created=1),
            [_sized("old", 6, 10)],
            {"old": 3, "new": 2},
            id="shrinks in proportion",
        ),
        pytest.param(
            11,
            _sized("new", 5, 10, created=1),
            [_sized("old", 5, 10)],
            {"new": 6, "old": 5},
            id="the newer of equals takes the rest",
        ),
        pytest.param(
            0,
            _sized("new", 5, 10, created=1),
            [_sized("old", 5, 10)],
            {"new": 0, "old": 0},
            id="to zero",
        ),
    ],
)
def test_scaling(wanted, new, old, expected):
    deployment = a_deployment(replicas=wanted, surge=0, unavailable=1)
    decided = sizes.scale(deployment, new, old)
    assert {r.replica_set.metadata.name: r.replicas for r in decided} == expected


def test_a_new_size_is_told_by_what_the_sets_noted():
    deployment = a_deployment(replicas=5)
    assert sizes.is_scaling(deployment, [_sized("a", 3, 3)])
    assert not sizes.is_scaling(deployment, [_sized("a", 3, 5), _sized("b", 0, 3)])
    assert not sizes.is_scaling(deployment, [a_replica_set()])


def test_the_hash_is_stable_safe_and_moved_by_collisions():
    template = a_deployment().spec.template
    value = revisions.template_hash(template, None)
    assert value == revisions.template_hash(a_deployment().spec.template, None)
    assert set(value) <= set("bcdfghjklmnpqrstvwxz2456789")
    assert revisions.template_hash(template, 1) != value
    assert revisions.template_hash(a_deployment(image="two").spec.template, None) != value


def test_the_hash_ignores_the_order_of_labels():
    one, two = a_deployment().spec.template, a_deployment().spec.template
    for key in "abcdefgh":
        one.metadata.labels[key] = key
    for key in "hgfedcba":
        two.metadata.labels[key] = key
    assert revisions.template_hash(one, 0) == revisions.template_hash(two, 0)


def test_a_new_replica_set():
    deployment = a_deployment(replicas=10, surge=2)
    deployment.metadata.annotations["note"] = "copied"
    deployment.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}"
    made = revisions.new_replica_set(deployment, 4, 7)
    value = made.metadata.labels["pod-template-hash"]
    assert made.metadata.name == f"web-{value}"
    assert made.spec.selector.matchLabels["pod-template-hash"] == value
    assert made.spec.template.metadata.labels["pod-template-hash"] == value
    assert dict(made.metadata.annotations) == {
        "note": "copied",
        "deployment.kubernetes.io/revision": "7",
        "deployment.kubernetes.io/desired-replicas": "10",
        "deployment.kubernetes.io/max-replicas": "12",
    }
    assert made.spec.replicas == 4
    assert revisions.find_new(deployment, [made]) is made
    assert "pod-template-hash" not in deployment.spec.template.metadata.labels


def test_a_template_that_went_through_json_is_the_same():
    deployment = a_deployment()
    made = revisions.new_replica_set(deployment, 1, 1)
    made.spec.template.spec.hostNetwork = False
    made.spec.template.spec.containers[0].workingDir = ""
    assert revisions.find_new(deployment, [made]) is made
    made.spec.template.spec.containers[0].securityContext.runAsUser = 0
    assert revisions.find_new(deployment, [made]) is None


def test_the_oldest_of_equal_templates_is_the_new_one():
    older, newer = _sized("b", 1, 1, created=0), _sized("a", 1, 1, created=5)
    assert revisions.find_new(a_deployment(), [newer, older]) is older
    assert revisions.find_new(a_deployment(image="two"), [newer, older]) is None


def test_a_revision_that_comes_back_keeps_its_history():
    deployment, replica_set = a_deployment(), a_replica_set()
    replica_set.metadata.annotations[revisions.REVISION] = "1"
    assert revisions.annotate(deployment, replica_set, 3)
    assert replica_set.metadata.annotations[revisions.REVISION] == "3"
    assert replica_set.metadata.annotations[revisions.REVISION_HISTORY] == "1"
    assert not revisions.annotate(deployment, replica_set, 3)
    assert revisions.annotate(deployment, replica_set, 5)
    assert replica_set.metadata.annotations[revisions.REVISION_HISTORY] == "1,3"


def test_history_beyond_its_limit_goes_oldest_first():
    deployment = a_deployment()
    deployment.spec.revisionHistoryLimit = 1
    sets = [a_replica_set(f"r{n}", 0) for n in range(4)]
    for number, rs in enumerate(sets):
        rs.metadata.annotations[revisions.REVISION] = str(number + 1)
    sets[1].spec.replicas = 2
    assert [rs.metadata.name for rs in revisions.expendable(deployment, sets)] == ["r0", "r2"]
    deployment.spec.ClearField("revisionHistoryLimit")
    assert revisions.expendable(deployment, sets) == []


def _condition(status, kind):
    found = progress.condition_of(status, kind)
    return (found.status, found.reason, found.message) if found is not None else None


def test_the_status_of_a_rollout_from_start_to_end():
    deployment = a_deployment()
    new = a_replica_set("web-1", 3)
    status = progress.after_rollout_step(deployment, [new], new, NOW)
    assert (status.replicas, status.unavailableReplicas) == (0, 3)
    assert _condition(status, "Available")[:2] == ("False", "MinimumReplicasUnavailable")

    deployment.status.CopyFrom(status)
    new.status.replicas = new.status.readyReplicas = new.status.availableReplicas = 2
    status = progress.after_rollout_step(deployment, [new], new, NOW + 5)
    assert _condition(status, "Progressing") == (
        "True",
        "ReplicaSetUpdated",
        'ReplicaSet "web-1" is progressing.',
    )

    deployment.status.CopyFrom(status)
    new.status.replicas = new.status.readyReplicas = new.status.availableReplicas = 3
    status = progress.after_rollout_step(deployment, [new], new, NOW + 9)
    assert _condition(status, "Progressing") == (
        "True",
        "NewReplicaSetAvailable",
        'ReplicaSet "web-1" has successfully progressed.',
    )
    condition = progress.condition_of(status, "Progressing")
    assert condition.lastTransitionTime.seconds == NOW + 5
    assert condition.lastUpdateTime.seconds == NOW + 9
    assert _condition(status, "Available")[:2] == ("True", "MinimumReplicasAvailable")
    assert progress.is_complete(deployment, status)

    deployment.status.CopyFrom(status)
    assert progress.after_rollout_step(deployment, [new], new, NOW + 9999) == status


def test_a_stuck_rollout_times_out():
    deployment = a_deployment()
    new = a_replica_set("web-1", 3)
    new.status.replicas = 1
    progress.set_condition(
        deployment.status, "Progressing", "True", "NewReplicaSetCreated", "", NOW
    )
    deployment.status.replicas = deployment.status.updatedReplicas = 1
    assert progress.deadline_in(deployment, deployment.status, NOW + 100) == 501
    early = progress.after_rollout_step(deployment, [new], new, NOW + 600)
    assert _condition(early, "Progressing")[1] == "NewReplicaSetCreated"
    late = progress.after_rollout_step(deployment, [new], new, NOW + 601)
    assert _condition(late, "Progressing") == (
        "False",
        "ProgressDeadlineExceeded",
        'ReplicaSet "web-1" has timed out progressing.',
    )
    assert progress.deadline_in(deployment, late, NOW + 601) is None


def test_without_a_deadline_there_is_no_progressing():
    deployment = a_deployment()
    deployment.spec.progressDeadlineSeconds = 2**31 - 1
    progress.set_condition(deployment.status, "Progressing", "True", "x", "", NOW)
    new = a_replica_set()
    status = progress.after_rollout_step(deployment, [new], new, NOW)
    assert progress.condition_of(status, "Progressing") is None


def test_a_failure_of_the_replica_set_shows():
    deployment, new = a_deployment(), a_replica_set()
    new.status.conditions.add(type="ReplicaFailure", status="True", reason="FailedCreate")
    status = progress.after_rollout_step(deployment, [new], new, NOW)
    assert _condition(status, "ReplicaFailure")[:2] == ("True", "FailedCreate")
    deployment.status.CopyFrom(status)
    del new.status.conditions[:]
    status = progress.after_rollout_step(deployment, [new], new, NOW)
    assert progress.condition_of(status, "ReplicaFailure") is None
