"""Disruption budgets and evictions; messages recorded from kube-apiserver 1.32.4."""

from datetime import UTC, datetime

import pytest

from apiserver.registry.core import eviction
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget

NOW = datetime(2024, 1, 2, tzinfo=UTC)


def pod(phase="Running", *, ready=True):
    made = Pod()
    made.metadata.name = "a"
    made.metadata.labels["app"] = "x"
    made.status.phase = phase
    made.status.conditions.add(type="Ready", status="True" if ready else "False")
    return made


def budget(allowed=1, *, name="p", healthy=3, desired=2, observed=1, policy=""):
    made = PodDisruptionBudget()
    made.metadata.name, made.metadata.generation = name, 1
    made.spec.selector.matchLabels["app"] = "x"
    if policy:
        made.spec.unhealthyPodEvictionPolicy = policy
    made.status.observedGeneration = observed
    made.status.disruptionsAllowed = allowed
    made.status.currentHealthy, made.status.desiredHealthy = healthy, desired
    return made


def deleted():
    made = pod()
    made.metadata.deletionTimestamp.seconds = 1
    return made


@pytest.mark.parametrize(
    ("evicted", "budgets", "asked"),
    [
        pytest.param(pod(), [budget()], True, id="covered"),
        pytest.param(pod(), [], False, id="no budget"),
        pytest.param(pod("Pending"), [budget()], False, id="pending"),
        pytest.param(pod("Succeeded"), [budget()], False, id="ended"),
        pytest.param(deleted(), [budget()], False, id="being deleted"),
        pytest.param(pod(ready=False), [budget()], False, id="unhealthy, the others are enough"),
        pytest.param(
            pod(ready=False), [budget(healthy=1)], True, id="unhealthy, the others are not enough"
        ),
        pytest.param(
            pod(ready=False),
            [budget(healthy=1, policy="AlwaysAllow")],
            False,
            id="unhealthy ones may always go",
        ),
    ],
)
def test_which_budget_is_asked(evicted, budgets, asked):
    assert (eviction.budget_of(evicted, budgets) is not None) is asked


def test_two_budgets_are_not_supported():
    with pytest.raises(ApiError) as caught:
        eviction.budget_of(pod(), [budget(), budget(name="q")])
    assert (caught.value.code, caught.value.status.message) == (
        500,
        "This pod has more than one PodDisruptionBudget, "
        "which the eviction subresource does not support.",
    )


@pytest.mark.parametrize(
    ("refusing", "code", "retry_after_s", "told"),
    [
        pytest.param(
            budget(0),
            429,
            0,
            "The disruption budget p needs 2 healthy pods and has 3 currently",
            id="none allowed",
        ),
        pytest.param(
            budget(1, observed=0),
            429,
            10,
            "The disruption budget p is still being processed by the server.",
            id="not seen by its controller",
        ),
    ],
)
def test_refusals(refusing, code, retry_after_s, told):
    with pytest.raises(ApiError) as caught:
        eviction.disrupt(refusing, "a", NOW)
    status = caught.value.status
    assert (status.code, status.details.retryAfterSeconds) == (code, retry_after_s)
    assert status.message == "Cannot evict pod as it would violate the pod's disruption budget."
    assert [(c.reason, c.message) for c in status.details.causes] == [("DisruptionBudget", told)]


def test_a_negative_allowance_is_forbidden():
    with pytest.raises(ApiError) as caught:
        eviction.disrupt(budget(-1), "a", NOW)
    assert caught.value.code == 403


def test_an_eviction_is_counted():
    counted = budget(2)
    eviction.disrupt(counted, "a", NOW)
    assert counted.status.disruptionsAllowed == 1
    assert not counted.status.conditions
    eviction.disrupt(counted, "b", NOW)
    assert {name: t.seconds for name, t in counted.status.disruptedPods.items()} == {
        "a": int(NOW.timestamp()),
        "b": int(NOW.timestamp()),
    }
    told = counted.status.conditions[0]
    assert (told.type, told.status, told.reason) == (
        "DisruptionAllowed",
        "False",
        "InsufficientPods",
    )


def test_an_evicted_pod_says_why_it_goes():
    marked = pod()
    eviction.mark(marked, NOW)
    eviction.mark(marked, NOW)
    told = [c for c in marked.status.conditions if c.type == "DisruptionTarget"]
    assert [(c.status, c.reason, c.message) for c in told] == [
        ("True", "EvictionByEvictionAPI", "Eviction API: evicting")
    ]
