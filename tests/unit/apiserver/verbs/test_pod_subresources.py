"""Ephemeral containers, resize, eviction and tokens through the verbs.

Messages about ephemeral containers were recorded from kube-apiserver 1.32.4; resize is served by
1.33 only and follows upstream's source.
"""

import asyncio

import pytest

from apiserver.authentication.users import LOOPBACK
from apiserver.verbs.interface import Created, Target
from podpath.api import errors, scheme
from podpath.api.errors import ApiError
from protos.k8s.authentication_v1_pb2 import TokenRequest
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.core_v1_pb2 import Pod
from protos.k8s.policy_v1_pb2 import Eviction, PodDisruptionBudget
from tests.support.verbs import local_apiserver

PODS = Target(scheme.PODS, "default")
BUDGETS = Target(scheme.PODDISRUPTIONBUDGETS, "default")
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


def named(name, subresource=""):
    return Target(scheme.PODS, "default", name, subresource)


@pytest.fixture
async def chain():
    async with local_apiserver() as local:
        yield local.chain


@pytest.fixture
async def pod(chain):
    made = Pod()
    made.metadata.name = "a"
    made.spec.containers.add(name="c", image="x").resources.requests["cpu"].string = "1"
    await chain.create(LOOPBACK, PODS, made)
    return named("a")


def debugger(name="d", image="y", target="c", **fields):
    return {"name": name, "image": image, "targetContainerName": target, **fields}


async def add(chain, *containers):
    patch = {"spec": {"ephemeralContainers": list(containers)}}
    return await chain.patch(LOOPBACK, named("a", "ephemeralcontainers"), MERGE, patch)


async def test_ephemeral_containers_are_added_and_nothing_else_changes(chain, pod):
    patch = {
        "metadata": {"labels": {"x": "y"}},
        "spec": {"activeDeadlineSeconds": 5, "ephemeralContainers": [debugger()]},
    }
    version = await chain.patch(LOOPBACK, named("a", "ephemeralcontainers"), STRATEGIC, patch)
    found = version.object
    common = found.spec.ephemeralContainers[0].ephemeralContainerCommon
    assert (common.name, common.imagePullPolicy) == ("d", "Always")
    assert not found.metadata.labels
    assert not found.spec.HasField("activeDeadlineSeconds")
    assert found.metadata.generation == 2


@pytest.mark.parametrize(
    ("containers", "message"),
    [
        pytest.param(
            [],
            'spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be '
            "removed\n",
            id="removed",
        ),
        pytest.param(
            [debugger(image="z")],
            'spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be '
            "changed\n",
            id="changed",
        ),
        pytest.param(
            [debugger(), debugger("c", "z", "")],
            'spec.ephemeralContainers[1].name: Duplicate value: "c"',
            id="a container's name",
        ),
        pytest.param(
            [debugger(), debugger("e", "z", "q")],
            'spec.ephemeralContainers[1].targetContainerName: Not found: "q"',
            id="an unknown target",
        ),
        pytest.param(
            [debugger(), debugger("e", ports=[{"containerPort": 3}])],
            "spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral "
            "Container",
            id="ports",
        ),
    ],
)
async def test_ephemeral_containers_that_are_refused(chain, pod, containers, message):
    await add(chain, debugger())
    with pytest.raises(ApiError) as caught:
        await add(chain, *containers)
    assert caught.value.status.message == f'Pod "a" is invalid: {message}'


async def resize(chain, **resources):
    patch = {"spec": {"containers": [{"name": "c", "image": "other", "resources": resources}]}}
    return (await chain.patch(LOOPBACK, named("a", "resize"), STRATEGIC, patch)).object


async def test_a_resize_changes_resources_only(chain, pod):
    found = await resize(chain, requests={"cpu": "2"})
    container = found.spec.containers[0]
    assert (container.resources.requests["cpu"].string, container.image) == ("2", "x")
    assert found.metadata.generation == 2


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        pytest.param(
            {"requests": {"cpu": "2", "example.com/x": "1"}, "limits": {"example.com/x": "1"}},
            "only cpu and memory resources are mutable",
            id="other resources",
        ),
        pytest.param(
            {"requests": {"cpu": None, "memory": "1Gi"}},
            "resource requests cannot be removed",
            id="removed",
        ),
        pytest.param(
            {"requests": {"memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
            "Pod QOS Class may not change as a result of resizing",
            id="another class",
        ),
    ],
)
async def test_resizes_that_are_refused(chain, pod, resources, message):
    with pytest.raises(ApiError) as caught:
        await resize(chain, **resources)
    assert (caught.value.code, message in caught.value.status.message) == (422, True)


async def test_evictions_at_once_take_no_more_than_the_budget_allows(chain):
    budget = PodDisruptionBudget()
    budget.metadata.name = "p"
    budget.spec.selector.matchLabels["app"] = "x"
    budget.spec.minAvailable.type, budget.spec.minAvailable.intVal = 0, 1
    await chain.create(LOOPBACK, BUDGETS, budget)
    status = {"observedGeneration": 1, "disruptionsAllowed": 2, "desiredHealthy": 3}
    target = Target(scheme.PODDISRUPTIONBUDGETS, "default", "p", "status")
    await chain.patch(LOOPBACK, target, MERGE, {"status": status})
    for index in range(5):
        made = Pod()
        made.metadata.name = f"e{index}"
        made.metadata.labels["app"] = "x"
        made.spec.containers.add(name="c", image="x")
        await chain.create(LOOPBACK, PODS, made)
        ready = {"type": "Ready", "status": "True"}
        running = {"status": {"phase": "Running", "conditions": [ready]}}
        await chain.patch(LOOPBACK, named(f"e{index}", "status"), MERGE, running)
    results = await asyncio.gather(
        *(chain.create(LOOPBACK, named(f"e{i}", "eviction"), Eviction()) for i in range(5)),
        return_exceptions=True,
    )
    refused = [result.reason for result in results if isinstance(result, ApiError)]
    assert refused == ["TooManyRequests"] * 3
    stored = (await chain.get(LOOPBACK, Target(target.resource, "default", "p"))).object
    assert stored.status.disruptionsAllowed == 0
    assert len(stored.status.disruptedPods) == 2


class Refusing:
    """Refuses what it is asked about one subresource."""

    name = "Refusing"

    def __init__(self, subresource):
        self._subresource = subresource

    def handles(self, attributes):
        return attributes.target.subresource == self._subresource

    async def validate(self, attributes):
        assert attributes.operation == "CREATE"
        raise errors.bad_request("refused")


@pytest.mark.parametrize(
    ("resource", "subresource", "body"),
    [
        pytest.param(scheme.SERVICEACCOUNTS, "token", TokenRequest(), id="token"),
        pytest.param(scheme.PODS, "eviction", Eviction(), id="eviction"),
    ],
)
async def test_subresources_pass_admission(resource, subresource, body):
    async def answer(user, target, obj):
        raise AssertionError("admission was not asked")

    async with local_apiserver(Refusing(subresource)) as local:
        local.chain._context.handlers[resource, subresource] = answer
        target = Target(resource, "default", "x", subresource)
        with pytest.raises(ApiError, match="refused"):
            await local.chain.create(LOOPBACK, target, body)


async def test_an_update_that_creates_says_so(chain):
    lease = Lease()
    lease.metadata.name = "l"
    target = Target(scheme.LEASES, "default", "l")
    assert isinstance(await chain.update(LOOPBACK, target, lease), Created)
