"""How many Pods a budget can spare, and the controller that says so."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from controllers import disruption_decisions as decisions
from controllers.disruption import DisruptionController
from controllers.reconciler import Context
from podpath.api.scheme import DEPLOYMENTS, PODDISRUPTIONBUDGETS, PODS, REPLICASETS
from podpath.client.informer import InformerFactory
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import FakeClock
from protos.k8s.policy_v1_pb2 import PodDisruptionBudget
from tests.support.controllers import (
    NOW,
    a_deployment,
    a_pod,
    a_replica_set,
    int_or_string,
)


def a_budget(*, minimum=None, maximum=None, **status):
    budget = PodDisruptionBudget()
    meta = budget.metadata
    meta.name, meta.namespace, meta.uid, meta.generation = "web", "ns", "uid-b", 1
    budget.spec.selector.matchLabels["app"] = "web"
    if minimum is not None:
        int_or_string(budget.spec.minAvailable, minimum)
    if maximum is not None:
        int_or_string(budget.spec.maxUnavailable, maximum)
    for field, value in status.items():
        setattr(budget.status, field, value)
    return budget


@pytest.mark.parametrize(
    ("budget", "pods", "wanted", "expected", "desired"),
    [
        pytest.param(a_budget(minimum=2), 5, 0, 5, 2, id="number"),
        pytest.param(a_budget(minimum="50%"), 5, 7, 7, 4, id="percentage is rounded up"),
        pytest.param(a_budget(maximum=1), 5, 7, 7, 6, id="unavailable, number"),
        pytest.param(a_budget(maximum="30%"), 5, 7, 7, 4, id="unavailable, percentage"),
        pytest.param(a_budget(maximum=9), 5, 7, 7, 0, id="more than there are"),
    ],
)
def test_expected_and_desired(budget, pods, wanted, expected, desired):
    assert decisions.expected_and_desired(budget, pods, wanted) == (expected, desired)


def test_evictions_count_until_they_happen_or_are_overdue():
    budget = a_budget(minimum=1)
    for name, ago in (("fresh", 20), ("overdue", 200), ("gone", 20), ("ending", 20)):
        budget.status.disruptedPods[name].seconds = NOW - ago
    pods = [a_pod(name, ready_since=NOW - 500) for name in ("fresh", "overdue", "ending")]
    pods[2].metadata.deletionTimestamp.seconds = NOW
    found = decisions.disrupted(budget, pods, NOW)
    assert dict(found.pods) == {"fresh": NOW - 20}
    assert found.overdue == ("overdue",)
    assert found.next_look_s == 100
    assert decisions.healthy(pods, found.pods) == 1


@pytest.mark.parametrize(
    ("expected", "desired", "current", "allowed", "reason"),
    [
        pytest.param(5, 3, 5, 2, "SufficientPods", id="two to spare"),
        pytest.param(5, 3, 3, 0, "InsufficientPods", id="none to spare"),
        pytest.param(5, 3, 1, 0, "InsufficientPods", id="too few already"),
        pytest.param(0, 0, 0, 0, "InsufficientPods", id="no Pods"),
    ],
)
def test_status(expected, desired, current, allowed, reason):
    status = decisions.compute_status(
        a_budget(minimum=3),
        expected=expected,
        desired=desired,
        current=current,
        evictions=decisions.Disrupted({}, (), None),
        now_s=NOW,
    )
    assert (status.disruptionsAllowed, status.observedGeneration) == (allowed, 1)
    [condition] = status.conditions
    assert (condition.type, condition.reason) == ("DisruptionAllowed", reason)
    assert condition.status == ("True" if allowed else "False")


def test_a_condition_keeps_its_time_while_its_status_stays():
    first = decisions.failed_status(a_budget(minimum=1), "why", NOW)
    budget = a_budget(minimum=1)
    budget.status.CopyFrom(first)
    again = decisions.failed_status(budget, "why not", NOW + 60)
    assert len(again.conditions) == 1
    assert again.conditions[0].message == "why not"
    assert again.conditions[0].lastTransitionTime.seconds == NOW


@asynccontextmanager
async def running(*objects):
    clock = FakeClock()
    client = MemoryClient(clock, random.Random(1))
    for resource, obj in objects:
        client.seed(resource, obj)
    informers = InformerFactory(client, clock=clock, rng=random.Random(1))
    context = Context(client, informers, clock, random.Random(1))
    controller = DisruptionController(context)
    tasks = [asyncio.ensure_future(w) for w in (informers.run(), controller.run())]
    try:
        yield client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def status_when(client, holds):
    async with asyncio.timeout(30):
        while True:
            status = (await client.get(PODDISRUPTIONBUDGETS, "ns", "web")).status
            if holds(status):
                return status
            await asyncio.sleep(0)


def owned_pods(count, owner="web-1"):
    return [(PODS, a_pod(f"p{i}", ready_since=NOW - 500, owner=owner)) for i in range(count)]


def a_set_of(deployment):
    replica_set = a_replica_set("web-1", replicas=2)
    replica_set.metadata.ownerReferences.add(
        apiVersion="apps/v1", kind="Deployment", name=deployment, uid=f"uid-{deployment}",
        controller=True,
    )  # fmt: skip
    return replica_set


async def test_a_percentage_is_of_what_the_deployment_wants():
    objects = [
        (PODDISRUPTIONBUDGETS, a_budget(maximum="50%")),
        (DEPLOYMENTS, a_deployment("web", replicas=4)),
        (REPLICASETS, a_set_of("web")),
        *owned_pods(4),
    ]
    async with running(*objects) as client:
        status = await status_when(client, lambda s: s.observedGeneration == 1)
        assert (status.expectedPods, status.desiredHealthy, status.currentHealthy) == (4, 2, 4)
        assert status.disruptionsAllowed == 2
        # A Pod goes: one less to spare.
        await client.delete(PODS, "ns", "p0")
        status = await status_when(client, lambda s: s.currentHealthy == 3)
        assert status.disruptionsAllowed == 1


async def test_a_controller_that_cannot_be_counted_spares_nothing():
    pod = a_pod("p0", ready_since=NOW - 500, owner="x")
    pod.metadata.ownerReferences[0].kind = "Strange"
    async with running((PODDISRUPTIONBUDGETS, a_budget(maximum=1)), (PODS, pod)) as client:
        status = await status_when(client, lambda s: s.observedGeneration == 1)
        assert status.disruptionsAllowed == 0
        assert status.conditions[0].reason == "SyncFailed"


async def test_a_number_counts_pods_without_a_controller_too():
    objects = [(PODS, a_pod(f"p{i}", ready_since=NOW - 500)) for i in range(3)]
    async with running((PODDISRUPTIONBUDGETS, a_budget(minimum=2)), *objects) as client:
        status = await status_when(client, lambda s: s.observedGeneration == 1)
        assert (status.expectedPods, status.disruptionsAllowed) == (3, 1)
