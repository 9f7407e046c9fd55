"""What Services are given, through the verbs: nothing is given twice, nothing is lost."""

import asyncio
import random

import pytest

from apiserver.authentication.users import LOOPBACK
from apiserver.bootstrap import kubernetes_service
from apiserver.registry.core.service_allocation import Range, RangeFullError
from apiserver.verbs.interface import Target, WriteOptions
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Service
from protos.k8s.meta_v1_pb2 import DeleteOptions
from tests.support.verbs import local_apiserver

SERVICES = Target(scheme.SERVICES, "default")
MERGE = "application/merge-patch+json"
TAKEN_IP = (
    'Service "b" is invalid: spec.clusterIPs: Invalid value: []string{"10.96.7.7"}: failed to '
    "allocate IP 10.96.7.7: provided IP is already allocated"
)
TAKEN_PORT = (
    'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30100: '
    "provided port is already allocated"
)


def service(name, kind="ClusterIP", address="", node_port=0, port=80):
    made = Service()
    made.metadata.name = name
    made.spec.type = kind
    made.spec.clusterIP = address
    made.spec.ports.add(port=port, protocol="TCP", nodePort=node_port)
    return made


def named(name):
    return Target(scheme.SERVICES, "default", name)


async def create(chain, made, **options):
    return (await chain.create(LOOPBACK, SERVICES, made, WriteOptions(**options))).object


@pytest.fixture
async def chain():
    async with local_apiserver() as local:
        yield local.chain


async def test_addresses_and_ports_are_given_out(chain):
    found = await create(chain, service("a", "NodePort"))
    assert found.spec.clusterIP.startswith("10.96.")
    assert list(found.spec.clusterIPs) == [found.spec.clusterIP]
    assert 30000 <= found.spec.ports[0].nodePort <= 32767


async def test_headless_services_get_no_address(chain):
    found = await create(chain, service("a", address="None"))
    assert (found.spec.clusterIP, list(found.spec.clusterIPs)) == ("None", ["None"])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        pytest.param(service("b", address="10.96.7.7"), TAKEN_IP, id="address"),
        pytest.param(service("b", "NodePort", node_port=30100), TAKEN_PORT, id="port"),
        pytest.param(
            service("b", address="10.200.0.1"),
            'Service "b" is invalid: spec.clusterIPs: Invalid value: []string{"10.200.0.1"}: '
            "failed to allocate IP 10.200.0.1: the provided IP (10.200.0.1) is not in the valid "
            "range. The range of valid IPs is 10.96.0.0/16",
            id="address outside",
        ),
        pytest.param(
            service("b", "NodePort", node_port=99),
            'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 99: '
            "provided port is not in the valid range. The range of valid ports is 30000-32767",
            id="port outside",
        ),
    ],
)
async def test_what_is_taken_or_outside_is_refused(chain, second, message):
    await create(chain, service("a", "NodePort", "10.96.7.7", 30100))
    with pytest.raises(ApiError) as caught:
        await create(chain, second)
    assert (caught.value.code, caught.value.status.message) == (422, message)


async def test_two_requests_at_once_do_not_get_the_same(chain):
    made = [service(f"s{i}", "NodePort", "10.96.7.7", 30100) for i in range(5)]
    results = await asyncio.gather(*(create(chain, s) for s in made), return_exceptions=True)
    assert sorted(isinstance(result, ApiError) for result in results) == [False] + [True] * 4


async def test_what_a_deleted_service_had_is_free_at_once(chain):
    for _ in range(5):
        await create(chain, service("a", "NodePort", "10.96.7.7", 30100))
        await chain.delete(LOOPBACK, named("a"), DeleteOptions())


async def test_a_dry_run_or_a_failed_create_keeps_nothing(chain):
    await create(chain, service("a", "NodePort", "10.96.7.7", 30100), dry_run=True)
    await create(chain, service("c"))
    with pytest.raises(ApiError):
        await create(chain, service("c", "NodePort", "10.96.7.7", 30100))
    await create(chain, service("b", "NodePort", "10.96.7.7", 30100))


async def test_updates_keep_what_a_service_has(chain):
    before = await create(chain, service("a", "NodePort"))
    version = await chain.update(LOOPBACK, named("a"), service("a", "NodePort"))
    assert version.object.spec == before.spec


async def test_another_type_gives_ports_and_addresses_back(chain):
    await create(chain, service("a", "NodePort", "10.96.7.7", 30100))
    plain = {"spec": {"type": "ClusterIP"}}
    version = await chain.patch(LOOPBACK, named("a"), MERGE, plain)
    assert version.object.spec.ports[0].nodePort == 0
    external = {"spec": {"type": "ExternalName", "externalName": "x", "clusterIP": None}}
    await chain.patch(LOOPBACK, named("a"), MERGE, external)
    found = await create(chain, service("b", "NodePort", "10.96.7.7", 30100))
    assert found.spec.clusterIP == "10.96.7.7"


async def test_one_port_for_two_protocols_has_one_node_port(chain):
    made = service("dns", "NodePort", port=53)
    made.spec.ports[0].name = "tcp"
    made.spec.ports.add(name="udp", port=53, protocol="UDP")
    found = await create(chain, made)
    assert found.spec.ports[0].nodePort == found.spec.ports[1].nodePort


def test_a_range_gives_out_every_member_and_then_none():
    members = Range(range(5), random.Random(1))
    given = set()
    for _ in range(5):
        member = members.free_member()
        members.claim(member, ("n", member))
        given.add(member)
    assert given == set("01234")
    with pytest.raises(RangeFullError):
        members.free_member()


WHERE = kubernetes_service.Place("10.96.0.1", "10.0.0.1", 6443)


async def test_the_service_kubernetes_is_made_and_put_right(chain):
    await kubernetes_service.reconcile(chain, LOOPBACK, WHERE)
    await kubernetes_service.reconcile(chain, LOOPBACK, WHERE)
    found = (await chain.get(LOOPBACK, named("kubernetes"))).object
    assert (found.spec.clusterIP, found.spec.ports[0].targetPort.intVal) == ("10.96.0.1", 6443)
    elsewhere = kubernetes_service.Place("10.96.0.1", "10.0.0.2", 7443)
    await kubernetes_service.reconcile(chain, LOOPBACK, elsewhere)
    slices = Target(scheme.ENDPOINTSLICES, "default", "kubernetes")
    points = Target(scheme.ENDPOINTS, "default", "kubernetes")
    sliced = (await chain.get(LOOPBACK, slices)).object
    assert list(sliced.endpoints[0].addresses) == ["10.0.0.2"]
    assert (await chain.get(LOOPBACK, points)).object.subsets[0].ports[0].port == 7443
    with pytest.raises(ApiError) as caught:
        await create(chain, service("mine", address="10.96.0.1"))
    assert "already allocated" in caught.value.status.message


async def test_a_reconciliation_without_changes_writes_nothing(chain):
    await kubernetes_service.reconcile(chain, LOOPBACK, WHERE)
    before = (await chain.get(LOOPBACK, named("kubernetes"))).object.metadata.resourceVersion
    await kubernetes_service.reconcile(chain, LOOPBACK, WHERE)
    after = (await chain.get(LOOPBACK, named("kubernetes"))).object.metadata.resourceVersion
    assert before == after


@pytest.mark.parametrize(
    ("advertised", "bound", "expected"),
    [
        pytest.param("10.1.1.1", "0.0.0.0", "10.1.1.1", id="told"),
        pytest.param("", "10.2.2.2", "10.2.2.2", id="bound"),
    ],
)
def test_where_the_api_server_is(advertised, bound, expected):
    found = kubernetes_service.place("10.96.0.0/16", advertised, bound, 6443)
    assert found == kubernetes_service.Place("10.96.0.1", expected, 6443)


def test_a_loopback_address_is_told_to_nobody():
    found = kubernetes_service.place("10.96.0.0/16", "127.0.0.1", "127.0.0.1", 6443)
    assert not found.address.startswith("127.")
