"""The controllers together, on the client without a server."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from controllers import manager as manager_module
from controllers.config import Config
from controllers.manager import Manager
from controllers.reconciler import Context
from controllers.replicaset import ReplicaSetController
from podpath.api import errors
from podpath.api.errors import ApiError
from podpath.api.scheme import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICEACCOUNTS,
)
from podpath.client.informer import InformerFactory, ObjectKey
from podpath.client.interface import Selection
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import FakeClock, SystemClock
from podpath.component_base.pod_trace import PodStep, ring
from protos.k8s.core_v1_pb2 import Namespace, Node, Secret
from tests.support.controllers import a_deployment, a_pod, a_replica_set, change_web
from tests.support.hollow_pods import hollow_pods


@pytest.fixture
def client():
    # UIDs of its own: the process' ring of stamps holds those of other tests' Pods too.
    client = MemoryClient(SystemClock(), random.Random(__name__))
    node = Node()
    node.metadata.name = "hollow"
    client.seed(NODES, node)
    client.seed(NAMESPACES, a_namespace("ns"))
    return client


def a_namespace(name):
    namespace = Namespace()
    namespace.metadata.name = name
    namespace.spec.finalizers.append("kubernetes")
    namespace.status.phase = "Active"
    return namespace


@asynccontextmanager
async def controllers(client, tmp_path):
    bundle = tmp_path / "ca.crt"
    bundle.write_text("BUNDLE")
    config = Config(kubeconfig="", root_ca_file=str(bundle))
    manager = Manager(config, client, clock=SystemClock(), rng=random.Random(1))
    async with hollow_pods(client):
        task = asyncio.ensure_future(manager.run())
        try:
            yield manager
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def eventually(check, limit_s=60.0):
    """Waits until `await check()` is true."""
    async with asyncio.timeout(limit_s):
        while not await check():
            await asyncio.sleep(0.01)


async def running(client, image=None):
    pods = (await client.list(PODS, Selection(namespace="ns"))).items
    return [
        pod
        for pod in pods
        if pod.status.phase == "Running"
        and not pod.metadata.HasField("deletionTimestamp")
        and image in (None, pod.spec.containers[0].image)
    ]


async def settled(client, count, image="one"):
    """The Deployment says that all its Pods are there, and they are."""
    status = (await client.get(DEPLOYMENTS, "ns", "web")).status
    numbers = (status.replicas, status.updatedReplicas, status.availableReplicas)
    return numbers == (count,) * 3 and len(await running(client, image)) == count


async def test_a_deployments_life(client, tmp_path):
    async with controllers(client, tmp_path) as manager:
        await client.create(DEPLOYMENTS, a_deployment(replicas=3))
        await eventually(lambda: settled(client, 3))
        assert manager.is_ready
        (replica_set,) = (await client.list(REPLICASETS)).items
        pods = await running(client)
        value = replica_set.metadata.labels["pod-template-hash"]
        assert {p.metadata.labels["pod-template-hash"] for p in pods} == {value}
        assert all(p.metadata.name.startswith(f"web-{value}-") for p in pods)
        for pod in pods:
            assert [s.step for s in ring.of(pod.metadata.uid)] == [PodStep.RECONCILED]
        deployment = await client.get(DEPLOYMENTS, "ns", "web")
        assert deployment.metadata.annotations["deployment.kubernetes.io/revision"] == "1"

        def scale(deployment):
            deployment.spec.replicas = 5

        await change_web(client, scale)
        await eventually(lambda: settled(client, 5))

        victim = (await running(client))[0].metadata
        await client.delete(PODS, "ns", victim.name)

        async def replaced():
            names = {p.metadata.name for p in await running(client)}
            return len(names) == 5 and victim.name not in names

        await eventually(replaced)

        await client.delete(DEPLOYMENTS, "ns", "web")

        async def gone():
            pods, sets = await client.list(PODS), await client.list(REPLICASETS)
            return not pods.items and not sets.items

        await eventually(gone)

        async def told():
            reasons = {e.reason for e in (await client.list(EVENTS)).items}
            return {"ScalingReplicaSet", "SuccessfulCreate"} <= reasons

        await eventually(told)


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Recreate"])
async def test_a_new_template_replaces_all_pods(client, tmp_path, strategy):
    def update(deployment):
        deployment.spec.template.spec.containers[0].image = "two"

    def back(deployment):
        deployment.spec.template.spec.containers[0].image = "one"

    async with controllers(client, tmp_path):
        deployment = a_deployment(replicas=4)
        deployment.spec.strategy.type = strategy
        if strategy == "Recreate":
            deployment.spec.strategy.ClearField("rollingUpdate")
        await client.create(DEPLOYMENTS, deployment)
        await eventually(lambda: settled(client, 4))
        await change_web(client, update)
        await eventually(lambda: settled(client, 4, "two"))
        assert await running(client, "one") == []
        assert len((await client.list(REPLICASETS)).items) == 2
        await change_web(client, back)
        await eventually(lambda: settled(client, 4, "one"))
        assert len((await client.list(REPLICASETS)).items) == 2
        deployment = await client.get(DEPLOYMENTS, "ns", "web")
        assert deployment.metadata.annotations["deployment.kubernetes.io/revision"] == "3"


async def test_a_rollout_keeps_within_its_limits(client, tmp_path):
    """Watched at every change: never more wanted than surge allows, never fewer than must be there.

    What counts towards the surge is what the ReplicaSets want, as upstream has it: one that was
    scaled down may still be deleting when the other one already creates.
    """
    seen = []

    async def watch():
        async for _ in client.watch(PODS, resource_version="0"):
            wanted = sum(r.spec.replicas for r in (await client.list(REPLICASETS)).items)
            pods = (await client.list(PODS)).items
            alive = [p for p in pods if not p.metadata.HasField("deletionTimestamp")]
            ready = [p for p in alive if p.status.phase == "Running"]
            seen.append((wanted, len(ready)))

    def update(deployment):
        deployment.spec.template.spec.containers[0].image = "two"

    async with controllers(client, tmp_path):
        await client.create(DEPLOYMENTS, a_deployment(replicas=8, surge=2, unavailable=1))
        await eventually(lambda: settled(client, 8))
        watching = asyncio.ensure_future(watch())
        await change_web(client, update)
        await eventually(lambda: settled(client, 8, "two"))
        watching.cancel()
    assert max(total for total, _ in seen) <= 10
    assert min(ready for _, ready in seen) >= 7


async def test_a_paused_deployment_scales_but_does_not_roll(client, tmp_path):
    def pause(deployment):
        deployment.spec.paused = True
        deployment.spec.replicas = 4
        deployment.spec.template.spec.containers[0].image = "two"

    def resume(deployment):
        deployment.spec.paused = False

    async def four_old():
        return len(await running(client, "one")) == 4

    async with controllers(client, tmp_path):
        await client.create(DEPLOYMENTS, a_deployment(replicas=2))
        await eventually(lambda: settled(client, 2))
        await change_web(client, pause)
        await eventually(four_old)
        assert await running(client, "two") == []
        await change_web(client, resume)
        await eventually(lambda: settled(client, 4, "two"))


async def test_orphans_are_adopted_and_relabelled_pods_released(client, tmp_path):
    orphan = a_pod("orphan", node="", phase="Pending")
    orphan.spec.containers.add(name="c", image="one")
    client.seed(PODS, orphan)

    async def running_are(count):
        return len(await running(client)) == count

    async def owner_of(name):
        owners = (await client.get(PODS, "ns", name)).metadata.ownerReferences
        return owners[0].name if owners else ""

    async def relabelled():
        try:
            pod = await client.get(PODS, "ns", "orphan")
            pod.metadata.labels["app"] = "other"
            await client.update(PODS, pod)
        except ApiError as error:
            if error.reason != "Conflict":
                raise
            return False
        return True

    async def released_and_replaced():
        return await owner_of("orphan") == "" and await running_are(3)

    async with controllers(client, tmp_path):
        await client.create(REPLICASETS, a_replica_set("web", 2))
        await eventually(lambda: running_are(2))
        assert await owner_of("orphan") == "web"
        await eventually(relabelled)
        await eventually(released_and_replaced)


async def test_a_refused_template_shows_and_does_not_flood(client, tmp_path, monkeypatch):
    create = client.create

    async def refuse(resource, obj, **options):
        if resource is PODS:
            client.calls.append(("refused", "pods", ""))
            raise errors.forbidden("", "pods", "", "exceeded quota")
        return await create(resource, obj, **options)

    monkeypatch.setattr(client, "create", refuse)
    async with controllers(client, tmp_path):
        await client.create(DEPLOYMENTS, a_deployment(replicas=100))

        async def told():
            status = (await client.get(DEPLOYMENTS, "ns", "web")).status
            return any(c.type == "ReplicaFailure" for c in status.conditions)

        await eventually(told)
        refused = sum(call[0] == "refused" for call in client.calls)
        assert 0 < refused < 15


async def test_a_large_sets_status_is_gathered_but_its_losses_are_not(client):
    clock = FakeClock()
    informers = InformerFactory(client, clock=clock, rng=random.Random(1))
    controller = ReplicaSetController(Context(client, informers, clock, random.Random(1)))
    queue = controller._loop.queue
    owner = a_replica_set("web", 1000)
    owner.status.replicas = 1000
    informers.informer(REPLICASETS).store.put(ObjectKey("ns", "web"), owner)
    starts, runs = (a_pod("p", phase=phase, owner="web") for phase in ("Pending", "Running"))
    for _ in range(10):
        controller._pod_updated(starts, runs)
    assert len(queue) == 0
    clock.step(0.2)
    queue.release_due()
    assert await queue.get() == ObjectKey("ns", "web")
    queue.done(ObjectKey("ns", "web"))
    controller._pod_updated(runs, a_pod("p", phase="Failed", owner="web"))
    assert len(queue) == 1


async def test_every_namespace_gets_its_account_and_bundle(client, tmp_path):
    async def furnished():
        try:
            await client.get(SERVICEACCOUNTS, "late", "default")
            bundle = await client.get(CONFIGMAPS, "late", "kube-root-ca.crt")
        except ApiError:
            return False
        return dict(bundle.data) == {"ca.crt": "BUNDLE"}

    async with controllers(client, tmp_path):
        await client.create(NAMESPACES, a_namespace("late"))
        await eventually(furnished)
        await client.delete(SERVICEACCOUNTS, "late", "default")
        await eventually(furnished)
        bundle = await client.get(CONFIGMAPS, "late", "kube-root-ca.crt")
        bundle.data["ca.crt"] = "forged"
        await client.update(CONFIGMAPS, bundle)
        await eventually(furnished)


async def test_a_namespace_is_emptied_and_let_go(client, tmp_path):
    secret = Secret()
    secret.metadata.name, secret.metadata.namespace = "s", "ns"
    client.seed(SECRETS, secret)
    async with controllers(client, tmp_path):
        await client.create(DEPLOYMENTS, a_deployment())
        await eventually(lambda: settled(client, 3))
        # As a server does on DELETE.
        namespace = await client.get(NAMESPACES, "", "ns")
        namespace.metadata.deletionTimestamp.seconds = 1
        namespace.metadata.deletionGracePeriodSeconds = 1
        namespace.status.phase = "Terminating"
        client.seed(NAMESPACES, namespace)

        async def let_go():
            return not (await client.get(NAMESPACES, "", "ns")).spec.finalizers

        await eventually(let_go)
        for resource in (SECRETS, PODS, REPLICASETS, DEPLOYMENTS, CONFIGMAPS, SERVICEACCOUNTS):
            assert (await client.list(resource, Selection(namespace="ns"))).items == []


@pytest.mark.parametrize("policy", ["orphan", "foregroundDeletion"])
async def test_finalizers_of_the_collector(client, tmp_path, policy):
    async with controllers(client, tmp_path):
        await client.create(DEPLOYMENTS, a_deployment())
        await eventually(lambda: settled(client, 3))
        deployment = await client.get(DEPLOYMENTS, "ns", "web")
        deployment.metadata.finalizers.append(policy)
        await client.update(DEPLOYMENTS, deployment)
        await client.delete(DEPLOYMENTS, "ns", "web")

        async def gone():
            try:
                await client.get(DEPLOYMENTS, "ns", "web")
            except ApiError:
                return True
            return False

        await eventually(gone)
        sets = (await client.list(REPLICASETS)).items
        if policy == "orphan":
            assert len(sets) == 1
            assert not sets[0].metadata.ownerReferences
            assert len(await running(client)) == 3
        else:
            assert sets == []


async def test_losing_the_lease_ends_the_controllers(client, tmp_path, monkeypatch):
    started = asyncio.Event()
    ended = asyncio.Event()

    class Probe:
        def __init__(self, context):
            pass

        async def run(self):
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    monkeypatch.setattr(manager_module, "CONTROLLERS", {"probe": Probe})
    async with controllers(client, tmp_path):
        async with asyncio.timeout(30):
            await started.wait()
        assert not ended.is_set()
    assert ended.is_set()
