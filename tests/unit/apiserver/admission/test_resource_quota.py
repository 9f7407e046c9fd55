"""Quotas: what is counted, what is refused and with which words, and that no race overcharges.

Messages of exceeded and failed quotas were recorded from kube-apiserver 1.32.4.
"""

import asyncio

import pytest

from apiserver.admission import quota_usage
from apiserver.admission.resource_quota import ResourceQuotaAdmission
from apiserver.authentication.users import LOOPBACK
from apiserver.verbs.interface import Target, WriteOptions
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.apps_v1_pb2 import Deployment
from protos.k8s.core_v1_pb2 import ConfigMap, PersistentVolumeClaim, Pod, ResourceQuota, Service
from tests.support.fake_lister import FakeLister
from tests.support.verbs import local_apiserver

PODS = Target(scheme.PODS, "default")
QUOTA = Target(scheme.RESOURCEQUOTAS, "default", "b")


def pod(name, *containers, init=(), **spec):
    """Containers as ((requests), (limits)), each of (name, amount) pairs."""
    made = Pod()
    made.metadata.name = name
    for field, each in ((made.spec.containers, containers), (made.spec.initContainers, init)):
        for index, (requests, limits) in enumerate(each):
            container = field.add(name="cdefg"[index], image="i")
            for key, amount in requests:
                container.resources.requests[key].string = amount
            for key, amount in limits:
                container.resources.limits[key].string = amount
    for key, value in spec.items():
        setattr(made.spec, key, value)
    return made


def quota(used=None, **hard):
    made = ResourceQuota()
    made.metadata.name, made.metadata.namespace = "b", "default"
    for name, amount in hard.items():
        name = name.replace("_", ".").replace("..", "/")
        made.spec.hard[name].string = amount
        made.status.hard[name].string = amount
        made.status.used[name].string = (used or {}).get(name, "0")
    return made


def shown(usage):
    return {name: str(amount) for name, amount in usage.items() if not name.startswith("count/")}


CPU = (("cpu", "600m"),)
MEMORY = (("memory", "1Mi"),)


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(pod("a", ((), ())), {"pods": "1"}, id="pod"),
        pytest.param(
            pod("a", (CPU, MEMORY), (CPU, (("memory", "2Gi"),))),
            {"pods": "1", "cpu": "1200m", "requests.cpu": "1200m", "limits.memory": "2049Mi"},
            id="containers add up",
        ),
        pytest.param(
            pod("a", (CPU, ()), init=[((("cpu", "1"),), ())]),
            {"pods": "1", "cpu": "1", "requests.cpu": "1"},
            id="a larger init container",
        ),
        pytest.param(
            pod("a", ((("example.com/gpu", "2"),), ())),
            {"pods": "1", "requests.example.com/gpu": "2"},
            id="extended resources",
        ),
        pytest.param(Service(), {"services": "1"}, id="service"),
        pytest.param(ConfigMap(), {}, id="counted by name elsewhere"),
    ],
)
def test_usage(obj, expected):
    resource = next(r for r in scheme.resources() if r.message is type(obj) and r.version == "v1")
    found = shown(quota_usage.usage(resource, obj))
    found.pop(resource.name, None) if resource is scheme.CONFIGMAPS else None
    assert found == expected


def test_sidecars_run_beside_the_containers():
    made = pod("a", (CPU, ()), init=[((("cpu", "100m"),), ()), ((("cpu", "200m"),), ())])
    made.spec.initContainers[0].restartPolicy = "Always"
    assert shown(quota_usage.usage(scheme.PODS, made))["requests.cpu"] == "700m"


def test_ended_pods_count_as_objects_only():
    made = pod("a", (CPU, ()))
    made.status.phase = "Succeeded"
    assert list(quota_usage.usage(scheme.PODS, made)) == ["count/pods"]


def test_load_balancers_and_their_ports():
    made = Service()
    made.spec.type = "LoadBalancer"
    made.spec.ports.add(port=1)
    made.spec.ports.add(port=2)
    assert shown(quota_usage.usage(scheme.SERVICES, made)) == {
        "services": "1",
        "services.loadbalancers": "1",
        "services.nodeports": "2",
    }
    made.spec.allocateLoadBalancerNodePorts = False
    assert "services.nodeports" not in quota_usage.usage(scheme.SERVICES, made)


def test_claims_are_counted_for_their_class_too():
    made = PersistentVolumeClaim()
    made.spec.resources.requests["storage"].string = "1Gi"
    made.spec.storageClassName = "gold"
    assert shown(quota_usage.usage(scheme.PERSISTENTVOLUMECLAIMS, made)) == {
        "persistentvolumeclaims": "1",
        "requests.storage": "1Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
    }


@pytest.mark.parametrize(
    ("scope", "operator", "values", "made", "expected"),
    [
        pytest.param("BestEffort", "Exists", (), pod("a", ((), ())), True, id="best effort"),
        pytest.param("BestEffort", "Exists", (), pod("a", (CPU, ())), False, id="not best effort"),
        pytest.param("NotBestEffort", "Exists", (), pod("a", (CPU, ())), True, id="burstable"),
        pytest.param(
            "Terminating", "Exists", (), pod("a", activeDeadlineSeconds=5), True, id="ends"
        ),
        pytest.param("NotTerminating", "Exists", (), pod("a"), True, id="does not end"),
        pytest.param(
            "PriorityClass", "In", ("h",), pod("a", priorityClassName="h"), True, id="priority"
        ),
        pytest.param("PriorityClass", "NotIn", ("h",), pod("a"), True, id="other priority"),
        pytest.param("PriorityClass", "Exists", (), pod("a"), False, id="no priority"),
        pytest.param("BestEffort", "Exists", (), ConfigMap(), False, id="no pod"),
    ],
)
def test_scopes(scope, operator, values, made, expected):
    selecting = ResourceQuota()
    selecting.spec.scopeSelector.matchExpressions.add(
        scopeName=scope, operator=operator, values=values
    )
    assert quota_usage.covers(selecting, made) is expected
    if operator == "Exists" and scope != "PriorityClass":
        scoped = ResourceQuota()
        scoped.spec.scopes.append(scope)
        assert quota_usage.covers(scoped, made) is expected


@pytest.fixture
async def server():
    """With quotas, which the plugin hears of as everybody does."""
    lister = FakeLister()
    plugin = ResourceQuotaAdmission(lister)
    async with local_apiserver(plugin) as local:
        local.caches.subscribe(scheme.RESOURCEQUOTAS, plugin._follow)
        yield local


async def bound(server, made):
    """Creates the quota, with the status that its controller would have written."""
    chain = server.chain
    status = ResourceQuota()
    status.CopyFrom(made)
    await chain.create(LOOPBACK, Target(scheme.RESOURCEQUOTAS, "default"), made)
    target = Target(scheme.RESOURCEQUOTAS, "default", "b", "status")
    version = await chain.update(LOOPBACK, target, status)
    async with asyncio.timeout(30):
        while server.caches.get(scheme.RESOURCEQUOTAS, "default", "b") != version.object:
            await asyncio.sleep(0)


async def used(server):
    stored = (await server.chain.get(LOOPBACK, QUOTA)).object
    return {name: amount.string for name, amount in stored.status.used.items()}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        pytest.param(
            pod("a", ((), ()), ((), ())),
            "failed quota: b: must specify limits.memory for: c,d; requests.cpu for: c,d",
            id="nothing stated",
        ),
        pytest.param(
            pod("a", ((("cpu", "100m"),), MEMORY), ((), ())),
            "failed quota: b: must specify limits.memory for: d; requests.cpu for: d",
            id="one container states nothing",
        ),
        pytest.param(
            pod("a", (CPU, MEMORY), (CPU, (("memory", "2Gi"),))),
            "exceeded quota: b, requested: limits.memory=2049Mi,requests.cpu=1200m, "
            "used: limits.memory=0,requests.cpu=0, limited: limits.memory=1Gi,requests.cpu=1",
            id="too much",
        ),
    ],
)
async def test_refused_pods(server, made, message):
    await bound(server, quota(pods="2", requests_cpu="1", limits_memory="1Gi"))
    with pytest.raises(ApiError) as caught:
        await server.chain.create(LOOPBACK, PODS, made)
    assert caught.value.status.message == f'pods "a" is forbidden: {message}'
    assert await used(server) == {"pods": "0", "requests.cpu": "0", "limits.memory": "0"}


async def test_what_is_admitted_is_charged(server):
    await bound(server, quota(pods="2", requests_cpu="1"))
    await server.chain.create(LOOPBACK, PODS, pod("a", (CPU, ())))
    assert await used(server) == {"pods": "1", "requests.cpu": "600m"}
    dry = WriteOptions(dry_run=True)
    await server.chain.create(LOOPBACK, PODS, pod("b", ((("cpu", "1m"),), ())), dry)
    assert (await used(server))["pods"] == "1"


async def test_other_kinds_are_counted_by_their_names(server):
    hard = quota(configmaps="1")
    hard.status.hard["count/deployments.apps"].string = "0"
    hard.status.used["count/deployments.apps"].string = "0"
    await bound(server, hard)
    obj = ConfigMap()
    obj.metadata.name = "a"
    await server.chain.create(LOOPBACK, Target(scheme.CONFIGMAPS, "default"), obj)
    again = ConfigMap()
    again.metadata.name = "b"
    with pytest.raises(ApiError) as caught:
        await server.chain.create(LOOPBACK, Target(scheme.CONFIGMAPS, "default"), again)
    assert caught.value.status.message == (
        'configmaps "b" is forbidden: exceeded quota: b, requested: configmaps=1, '
        "used: configmaps=1, limited: configmaps=1"
    )
    deployment = Deployment()
    deployment.metadata.name = "d"
    deployment.spec.selector.matchLabels["a"] = "b"
    deployment.spec.template.metadata.labels["a"] = "b"
    deployment.spec.template.spec.containers.add(name="c", image="i")
    with pytest.raises(ApiError, match=r"requested: count/deployments\.apps=1"):
        await server.chain.create(LOOPBACK, Target(scheme.DEPLOYMENTS, "default"), deployment)


async def test_a_service_that_becomes_more_is_charged_the_difference(server):
    await bound(server, quota(services_nodeports="1", services="1"))
    made = Service()
    made.metadata.name = "s"
    made.spec.ports.add(port=80)
    await server.chain.create(LOOPBACK, Target(scheme.SERVICES, "default"), made)
    target = Target(scheme.SERVICES, "default", "s")
    merge = "application/merge-patch+json"
    await server.chain.patch(LOOPBACK, target, merge, {"spec": {"type": "NodePort"}})
    assert await used(server) == {"services": "1", "services.nodeports": "1"}


async def test_fifty_at_once_get_what_there_is_and_no_more(server):
    await bound(server, quota(pods="20"))
    results = await asyncio.gather(
        *(server.chain.create(LOOPBACK, PODS, pod(f"p{i}", ((), ()))) for i in range(50)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, ApiError)]
    assert (len(refused), {error.reason for error in refused}) == (30, {"Forbidden"})
    assert await used(server) == {"pods": "20"}


async def test_a_quota_that_somebody_else_wrote_is_read_again(server):
    await bound(server, quota(pods="3"))
    store = server.chain._context.registry.entry(scheme.RESOURCEQUOTAS).store
    found = await store.find("default", "b")
    other = ResourceQuota()
    other.CopyFrom(found)
    other.status.used["pods"].string = "2"
    await server.storage.update(  # behind the cache's back for a moment
        scheme.RESOURCEQUOTAS.storage_key("default", "b"),
        store._value(without_version(other)),
        int(found.metadata.resourceVersion),
    )
    results = await asyncio.gather(
        *(server.chain.create(LOOPBACK, PODS, pod(f"p{i}", ((), ()))) for i in range(2)),
        return_exceptions=True,
    )
    assert sorted(isinstance(result, ApiError) for result in results) == [False, True]
    assert await used(server) == {"pods": "3"}


def without_version(obj):
    obj.metadata.ClearField("resourceVersion")
    return obj


async def test_a_quota_without_status_bounds_nothing_yet(server):
    made = ResourceQuota()
    made.metadata.name = "b"
    made.spec.hard["pods"].string = "0"
    await server.chain.create(LOOPBACK, Target(scheme.RESOURCEQUOTAS, "default"), made)
    await server.chain.create(LOOPBACK, PODS, pod("a", ((), ())))
