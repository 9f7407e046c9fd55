"""The API server as a process, over a real etcd, through its gRPC door with TLS."""

import asyncio
import json

import aiohttp
import pytest

from podpath.api.errors import ApiError
from podpath.api.scheme import CONFIGMAPS, NAMESPACES, NODES, PODS, SERVICEACCOUNTS
from podpath.client.grpc import GrpcClient
from podpath.client.interface import EventType, Selection
from podpath.client.kubeconfig import KubeConfig
from podpath.component_base.clock import SystemClock
from podpath.component_base.pki import ClusterNames, ensure_cluster_pki
from protos.k8s.authentication_v1_pb2 import TokenRequest
from protos.k8s.core_v1_pb2 import Binding, ConfigMap, Node, Pod, ServiceAccount
from tests.support.apiserver import running_apiserver

pytestmark = pytest.mark.integration

DEADLINE_S = 30
CLIENTS = 50


def pod(name):
    obj = Pod()
    obj.metadata.namespace, obj.metadata.name = "default", name
    obj.spec.containers.add(name="c", image="busybox")
    obj.spec.automountServiceAccountToken = False
    return obj


def config_map(name, **data):
    obj = ConfigMap()
    obj.metadata.namespace, obj.metadata.name = "default", name
    obj.data.update(data)
    return obj


def binding(name, node):
    obj = Binding()
    obj.metadata.namespace, obj.metadata.name = "default", name
    obj.target.name = node
    return obj


async def make_service_account(client):
    account = ServiceAccount()
    account.metadata.namespace, account.metadata.name = "default", "default"
    await client.create(SERVICEACCOUNTS, account)


async def eventually(condition):
    """Waits for what caches and watches show a moment later."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # what is waited for is in another process
            await asyncio.sleep(0.02)


@pytest.fixture
async def server():
    async with running_apiserver() as running:
        yield running


@pytest.fixture
async def client(server):
    async with server.client() as connected:
        await make_service_account(connected)

        async def seen():
            try:
                await connected.get(SERVICEACCOUNTS, "default", "default", resource_version="0")
            except ApiError:
                return False
            return True

        await eventually(seen)
        yield connected


async def stamps(server, uid):
    connector = aiohttp.UnixConnector(path=str(server.diagnostics))
    url = f"http://localhost/debug/podtrace?uid={uid}"
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        return [stamp["step"] for stamp in json.loads(await response.text())]


async def test_a_pods_way_through_the_server(server, client):
    """Create, bind, status Running: each step of the path is stamped once, in order."""
    made = await client.create(PODS, pod("a"))
    await client.bind(binding("a", "node-1"))
    bound = await client.get(PODS, "default", "a")
    bound.status.phase = "Running"
    await client.update_status(PODS, bound)
    await client.update_status(PODS, await client.get(PODS, "default", "a"))
    assert await stamps(server, made.metadata.uid) == [
        "REQUEST_RECEIVED",
        "AUTHORIZED",
        "ADMITTED",
        "VALIDATED",
        "STORE",
        "STORED",
        "RESPONDED",
        "BOUND",
        "STATUS_RUNNING",
    ]


async def test_admission_and_defaults_are_in_what_is_stored(client):
    made = await client.create(PODS, pod("a"))
    assert made.spec.serviceAccountName == "default"
    assert made.spec.containers[0].imagePullPolicy == "Always"
    assert {t.key for t in made.spec.tolerations} == {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
    assert made.status.qosClass == "BestEffort"


async def test_rejected_pods_are_not_stored(client):
    orphan = pod("a")
    orphan.metadata.namespace = "nowhere"
    with pytest.raises(ApiError) as caught:
        await client.create(PODS, orphan)
    assert (caught.value.code, str(caught.value)) == (404, 'namespaces "nowhere" not found')
    assert (await client.list(PODS)).items == []


async def test_fifty_clients_lose_no_update(server, client):
    await client.create(CONFIGMAPS, config_map("counter", n="0"))
    conflicts = 0

    async def increment(connection):
        nonlocal conflicts
        while True:
            seen = await connection.get(CONFIGMAPS, "default", "counter")
            seen.data["n"] = str(int(seen.data["n"]) + 1)
            try:
                await connection.update(CONFIGMAPS, seen)
                return
            except ApiError as error:
                if (error.reason, error.code) != ("Conflict", 409):
                    raise
                conflicts += 1

    clients = [server.client() for _ in range(CLIENTS)]
    try:
        async with asyncio.timeout(120):
            await asyncio.gather(*(increment(each) for each in clients))
    finally:
        await asyncio.gather(*(each.close() for each in clients))
    assert (await client.get(CONFIGMAPS, "default", "counter")).data["n"] == str(CLIENTS)
    assert conflicts > 0


async def test_watch_cut_at_every_event_of_grouped_writes_resumes_whole(client):
    start = (await client.list(PODS)).resource_version
    made = await client.create_many(PODS, [pod(f"p{i:02}") for i in range(30)])
    bound = await client.bind_many([binding(p.metadata.name, "node-1") for p in made])
    assert bound == [None] * 30

    async def seen_after(version, count):
        found = []
        async with asyncio.timeout(DEADLINE_S):
            async for events in client.watch(PODS, resource_version=version):
                found += [
                    (e.type, e.object.metadata.name, e.object.metadata.resourceVersion)
                    for e in events
                    if e.type is not EventType.BOOKMARK
                ]
                if len(found) >= count:
                    break
        return found

    whole = await seen_after(start, 60)
    assert len({version for _, _, version in whole}) == 60
    for cut in range(1, 60):
        assert await seen_after(whole[cut - 1][2], 60 - cut) == whole[cut:]


async def test_versions_of_before_a_restart_cannot_be_watched_from_a_cache_that_lost_them(
    server, client
):
    """The history is the process' own; an older version answers Expired, and a list helps."""
    first = await client.create(CONFIGMAPS, config_map("a"))
    await client.create(CONFIGMAPS, config_map("b"))
    server.kill()
    await server.start()
    async with server.client() as again:
        old = again.watch(CONFIGMAPS, resource_version=first.metadata.resourceVersion)
        with pytest.raises(ApiError) as caught:
            await anext(old)
        assert (caught.value.reason, caught.value.code) == ("Expired", 410)
        listed = await again.list(CONFIGMAPS, Selection(namespace="default"))
        assert [c.metadata.name for c in listed.items] == ["a", "b"]


async def test_kill_during_writes_loses_nothing_acknowledged(server, client):
    acknowledged = set()
    refused = []

    async def write(worker):
        for number in range(10_000):
            name = f"w{worker}-{number}"
            try:
                await client.create(CONFIGMAPS, config_map(name))
            except ApiError as error:
                refused.append(error.reason)
                return
            acknowledged.add(name)

    writers = [asyncio.ensure_future(write(worker)) for worker in range(10)]

    async def enough():
        return len(acknowledged) >= 300

    await eventually(enough)
    server.kill()
    await asyncio.gather(*writers)
    assert set(refused) == {"ServiceUnavailable"}
    await server.start()
    async with server.client() as again:
        stored = {c.metadata.name for c in (await again.list(CONFIGMAPS)).items}
    assert acknowledged <= stored
    # What was under way may have been stored without an answer: one for each writer at most.
    extra = {name for name in stored if name.startswith("w")} - acknowledged
    assert len(extra) <= 10


async def test_killed_etcd_loses_nothing_acknowledged_and_the_server_goes_on(server, client):
    start = (await client.list(CONFIGMAPS)).resource_version
    acknowledged = []

    async def write(worker):
        for number in range(60):
            name = f"w{worker}-{number}"
            while True:
                try:
                    await client.create(CONFIGMAPS, config_map(name))
                except ApiError as error:
                    if error.reason == "AlreadyExists":
                        break  # a try before this one was stored without an answer
                    if error.code < 500:
                        raise
                    await asyncio.sleep(0.1)
                else:
                    break
            acknowledged.append(name)

    async def see():
        seen = []
        async for events in client.watch(CONFIGMAPS, resource_version=start):
            seen += [e.object.metadata.name for e in events if e.type is not EventType.BOOKMARK]
            if len(seen) >= 300:
                break
        return seen

    watching = asyncio.ensure_future(see())
    writers = [asyncio.ensure_future(write(worker)) for worker in range(5)]

    async def some():
        return len(acknowledged) >= 50

    await eventually(some)
    await server.etcd.restart(down_s=0.3)
    async with asyncio.timeout(60):
        await asyncio.gather(*writers)
        seen = await watching
    stored = {c.metadata.name for c in (await client.list(CONFIGMAPS)).items}
    assert set(acknowledged) <= stored
    # The watch went through the crash: every object once.
    assert sorted(n for n in seen if n.startswith("w")) == sorted(acknowledged)


async def test_future_versions_time_out(client):
    with pytest.raises(ApiError) as caught:
        await client.list(PODS, resource_version=str(1 << 50))
    assert (caught.value.reason, caught.value.code) == ("Timeout", 504)
    assert caught.value.status.details.causes[0].reason == "ResourceVersionTooLarge"


async def test_terminated_server_exits_cleanly(server):
    assert server.stop() == 0
    assert "Traceback" not in server.log


async def test_who_may_do_what(server, client):
    node = Node()
    node.metadata.name = "node-1"
    await client.create(NODES, node)
    async with server.client("node-1") as kubelet, server.client("") as anonymous:
        assert (await kubelet.get(NODES, "", "node-1")).metadata.name == "node-1"
        with pytest.raises(ApiError) as caught:
            await kubelet.create(NODES, _named(Node(), "node-2"))
        assert (caught.value.reason, caught.value.code) == ("Forbidden", 403)
        with pytest.raises(ApiError) as caught:
            await anonymous.list(NAMESPACES)
        assert str(caught.value) == (
            'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces" '
            'in API group "" at the cluster scope'
        )
    async with server.client(token="wrong") as stranger:
        with pytest.raises(ApiError) as caught:
            await stranger.list(NAMESPACES)
    assert (caught.value.reason, caught.value.code) == ("Unauthorized", 401)


async def test_service_account_tokens_are_issued_and_known(server, client):
    request = TokenRequest()
    request.metadata.namespace = "default"
    answer = await client.create(SERVICEACCOUNTS, request, subresource="token", name="default")
    async with server.client(token=answer.status.token) as account:
        with pytest.raises(ApiError) as caught:
            await account.list(PODS)
    assert 'User "system:serviceaccount:default:default" cannot list' in str(caught.value)


async def test_a_certificate_of_another_authority_is_refused(server, tmp_path):
    """In the handshake: no call gets through."""
    other = ensure_cluster_pki(tmp_path, ClusterNames(), SystemClock())
    theirs = KubeConfig(
        "",
        f"127.0.0.1:{server.grpc_port}",
        ca=server.pki.ca.certificate.read_bytes(),
        cert=other.admin.certificate.read_bytes(),
        key=other.admin.key.read_bytes(),
    )
    async with GrpcClient(theirs) as stranger:
        with pytest.raises(ApiError) as caught:
            await stranger.list(NAMESPACES)
    assert caught.value.reason == "ServiceUnavailable"


async def test_large_objects_are_refused(client):
    with pytest.raises(ApiError) as caught:
        await client.create(CONFIGMAPS, config_map("big", x="x" * (4 << 20)))
    assert (caught.value.reason, caught.value.code) == ("RequestEntityTooLarge", 413)


def _named(obj, name):
    obj.metadata.name = name
    return obj
