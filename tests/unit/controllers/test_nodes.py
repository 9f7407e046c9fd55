"""Silent nodes and Pods that nobody else removes, on the client without a server."""

import random

import pytest

from controllers.node_lifecycle import NodeLifecycleController
from controllers.pod_gc import PodGarbageCollector
from controllers.taint_eviction import TaintEvictionController
from podpath.api.scheme import EVENTS, LEASES, NODES, PODS
from podpath.client.memory import MemoryClient
from podpath.component_base.clock import FakeClock
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.core_v1_pb2 import Node
from tests.support.controllers import a_pod, running, settle

UNREACHABLE = "node.kubernetes.io/unreachable"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(clock):
    return MemoryClient(clock, random.Random(1))


def a_node(client, ready="True", name="n"):
    node = Node()
    node.metadata.name = name
    if ready:
        node.status.conditions.add(type="Ready", status=ready)
    client.seed(NODES, node)


def a_lease(name="n"):
    lease = Lease()
    lease.metadata.namespace, lease.metadata.name = "kube-node-lease", name
    lease.spec.holderIdentity = name
    return lease


async def renew(client, *names):
    for name in names:
        lease = await client.get(LEASES, "kube-node-lease", name)
        lease.spec.renewTime.seconds += 1
        await client.update(LEASES, lease)
    await settle()


async def _pass(clock, seconds):
    for _ in range(seconds):
        clock.step(1)
        await settle()


async def ready(client, name="n"):
    node = await client.get(NODES, "", name)
    return next((c.status for c in node.status.conditions if c.type == "Ready"), "")


async def taints(client, name="n"):
    node = await client.get(NODES, "", name)
    return sorted((t.key, t.effect) for t in node.spec.taints)


async def names(client):
    return sorted(pod.metadata.name for pod in (await client.list(PODS)).items)


async def test_a_silent_node_becomes_unknown_and_loses_its_pods_in_time(client, clock):
    a_node(client)
    a_node(client, name="other")  # without it no node would be left, and nothing be evicted
    tolerant = a_pod("tolerant", ready_since=1)
    tolerant.spec.terminationGracePeriodSeconds = 0
    tolerant.spec.tolerations.add(
        key=UNREACHABLE, operator="Exists", effect="NoExecute", tolerationSeconds=30
    )
    stays = a_pod("stays", ready_since=1)
    stays.spec.tolerations.add(operator="Exists")
    client.seed(PODS, tolerant, stays)
    await client.create(LEASES, a_lease())
    await client.create(LEASES, a_lease("other"))
    async with running(client, clock, NodeLifecycleController, TaintEvictionController):
        for _ in range(4):
            await _pass(clock, 20)
            await renew(client, "n", "other")
        assert await ready(client) == "True"
        await _pass(clock, 40)
        await renew(client, "other")
        await _pass(clock, 10)
        assert await ready(client) == "True"
        await _pass(clock, 6)
        assert await ready(client) == "Unknown"
        assert await taints(client) == [(UNREACHABLE, "NoExecute"), (UNREACHABLE, "NoSchedule")]
        pod = await client.get(PODS, "ns", "stays")
        assert [c.status for c in pod.status.conditions if c.type == "Ready"] == ["False"]
        await _pass(clock, 20)
        assert await names(client) == ["stays", "tolerant"]
        await _pass(clock, 15)
        assert await names(client) == ["stays"]
        reasons = {e.reason for e in (await client.list(EVENTS)).items}
        assert {"NodeNotReady", "TaintManagerEviction", "RegisteredNode"} <= reasons


async def test_a_node_that_comes_back_loses_its_taints(client, clock):
    a_node(client, "Unknown")
    a_node(client, name="other")
    async with running(client, clock, NodeLifecycleController):
        assert len(await taints(client)) == 2
        node = await client.get(NODES, "", "n")
        node.status.conditions[0].status = "True"
        await client.update_status(NODES, node)
        await _pass(clock, 6)
        assert await taints(client) == []


async def test_when_no_node_is_left_nobody_is_evicted(client, clock):
    for name in ("n", "m"):
        a_node(client, name=name)
        await client.create(LEASES, a_lease(name))
    client.seed(PODS, a_pod("pod", ready_since=1))
    async with running(client, clock, NodeLifecycleController, TaintEvictionController):
        await _pass(clock, 45)
        await renew(client, "m")
        await _pass(clock, 10)
        # One of two is lost: its Pods have to go. Then the other is, too.
        assert (UNREACHABLE, "NoExecute") in await taints(client)
        await _pass(clock, 60)
        for name in ("n", "m"):
            assert await ready(client, name) == "Unknown"
            assert await taints(client, name) == [(UNREACHABLE, "NoSchedule")]
        # When one speaks again, the other has a new grace period and then loses its Pods.
        node = await client.get(NODES, "", "m")
        node.status.conditions[0].status = "True"
        node.status.conditions[0].lastHeartbeatTime.seconds += 1
        await client.update_status(NODES, node)
        await _pass(clock, 20)
        assert await taints(client, "m") == []
        assert (UNREACHABLE, "NoExecute") in await taints(client)


async def test_nodes_lost_together_lose_their_pods_one_after_another(client, clock):
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        a_node(client, name=name)
        await client.create(LEASES, a_lease(name))
    lost = names[:2]
    async with running(client, clock, NodeLifecycleController):

        async def evicted():
            return [n for n in names if (UNREACHABLE, "NoExecute") in await taints(client, n)]

        for _ in range(6):
            await _pass(clock, 10)
            await renew(client, *names[2:])
        assert await evicted() == ["a"]
        assert all([(UNREACHABLE, "NoSchedule") in await taints(client, n) for n in lost])
        await _pass(clock, 10)
        assert await evicted() == lost


async def test_a_node_that_never_spoke_has_a_minute(client, clock):
    a_node(client, ready="")
    async with running(client, clock, NodeLifecycleController):
        await _pass(clock, 58)
        assert await ready(client) == ""
        await _pass(clock, 8)
        assert await ready(client) == "Unknown"


async def test_pods_of_a_node_that_is_gone_are_collected_after_quarantine(client, clock):
    client.seed(PODS, a_pod("left", node="gone"), a_pod("fine", node="n"))
    a_node(client)
    async with running(client, clock, PodGarbageCollector):
        await _pass(clock, 39)
        assert await names(client) == ["fine", "left"]
        await _pass(clock, 5)
        assert await names(client) == ["fine"]


async def test_a_node_that_only_the_cache_lacks_keeps_its_pods(client, clock, monkeypatch):
    client.seed(PODS, a_pod("left", node="n"))
    async with running(client, clock, PodGarbageCollector):
        get = client.get

        async def knows_the_node(resource, *key, **options):
            return Node() if resource is NODES else await get(resource, *key, **options)

        monkeypatch.setattr(client, "get", knows_the_node)
        await _pass(clock, 100)
        assert await names(client) == ["left"]


async def test_finished_pods_beyond_the_threshold_are_collected(client, clock):
    a_node(client)
    finished = [a_pod(f"p{n}", phase="Succeeded", created=100 + n) for n in range(5)]
    client.seed(PODS, *finished, a_pod("runs"))
    async with running(client, clock, PodGarbageCollector):
        assert await names(client) == ["p3", "p4", "runs"]
