"""The Service `kubernetes` in `default`, and where it leads: this API server.

Put right again every ten seconds, as upstream does, so that nothing stays that somebody deleted.

Source: k8s.io/kubernetes pkg/controlplane/controller/kubernetesservice/controller.go,
pkg/controlplane/reconcilers/endpointsadapter.go.
"""

import ipaddress
import logging
import socket
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from apiserver.verbs.interface import Target, UserInfo, Verbs
from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.api.scheme import Resource
from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Endpoints, Service
from protos.k8s.discovery_v1_pb2 import EndpointSlice

logger = logging.getLogger(__name__)

NAME = "kubernetes"
NAMESPACE = "default"
PORT = 443
PORT_NAME = "https"
PERIOD_S = 10.0
# Addresses of documentation: nothing is sent, the kernel only says from where it would be.
_SOMEWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the API server is found. `address` is "" when it is nowhere that Pods could reach."""

    cluster_ip: str
    address: str
    port: int


def place(cluster_ip_range: str, advertised: str, bound: str, port: int) -> Place:
    """`advertised`, or what the door is bound to, or this host's address.

    Loopback addresses mean another host to whoever reads them, so they are never told.
    """
    network = ipaddress.IPv4Network(cluster_ip_range)
    address = advertised or bound
    if not _reachable(address):
        address = _own_address()
    return Place(str(network[1]), address if _reachable(address) else "", port)


def _reachable(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.version == 4 and not (parsed.is_loopback or parsed.is_unspecified)


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_SOMEWHERE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def service(where: Place) -> Service:
    found = Service()
    found.metadata.name, found.metadata.namespace = NAME, NAMESPACE
    found.metadata.labels.update({"component": "apiserver", "provider": "kubernetes"})
    found.spec.type = "ClusterIP"
    found.spec.clusterIP = where.cluster_ip
    found.spec.clusterIPs.append(where.cluster_ip)
    found.spec.sessionAffinity = "None"
    port = found.spec.ports.add(name=PORT_NAME, protocol="TCP", port=PORT)
    port.targetPort.type = 0
    port.targetPort.intVal = where.port
    return found


def endpoints(where: Place) -> Endpoints:
    found = Endpoints()
    found.metadata.name, found.metadata.namespace = NAME, NAMESPACE
    found.metadata.labels["endpointslice.kubernetes.io/skip-mirror"] = "true"
    subset = found.subsets.add()
    subset.addresses.add(ip=where.address)
    subset.ports.add(name=PORT_NAME, port=where.port, protocol="TCP")
    return found


def endpoint_slice(where: Place) -> EndpointSlice:
    found = EndpointSlice()
    found.metadata.name, found.metadata.namespace = NAME, NAMESPACE
    found.metadata.labels["kubernetes.io/service-name"] = NAME
    found.addressType = "IPv4"
    endpoint = found.endpoints.add(addresses=[where.address])
    endpoint.conditions.ready = True
    found.ports.add(name=PORT_NAME, port=where.port, protocol="TCP")
    return found


async def reconcile(verbs: Verbs, user: UserInfo, where: Place) -> None:
    """Creates what is missing and puts right what differs. Raises: ApiError."""
    await _ensure(verbs, user, scheme.SERVICES, service(where), ("ports", "clusterIP"))
    if where.address:
        await _ensure(verbs, user, scheme.ENDPOINTS, endpoints(where), ())
        await _ensure(verbs, user, scheme.ENDPOINTSLICES, endpoint_slice(where), ())


async def run(verbs: Verbs, user: UserInfo, where: Place, clock: Clock) -> None:
    """Until cancelled."""
    while True:
        await clock.sleep(PERIOD_S)
        try:
            await reconcile(verbs, user, where)
        except ApiError as error:
            logger.warning("the Service kubernetes could not be put right: %s", error)


async def _ensure(
    verbs: Verbs, user: UserInfo, resource: Resource[Any], wanted: Any, spec_fields: tuple[str, ...]
) -> None:
    """`spec_fields` are compared in the spec; without any, all but the metadata is."""
    target = Target(resource, NAMESPACE, NAME)
    try:
        found: Any = (await verbs.get(user, target)).object
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        await verbs.create(user, Target(resource, NAMESPACE), wanted)
        return
    if spec_fields:
        same = all(
            getattr(found.spec, field) == getattr(wanted.spec, field) for field in spec_fields
        )
    else:
        same = _content(found) == _content(wanted)
    if same:
        return
    wanted.metadata.resourceVersion = found.metadata.resourceVersion
    await verbs.update(user, target, wanted)


def _content(obj: Message) -> Message:
    copy = type(obj)()
    copy.CopyFrom(obj)
    copy.ClearField("metadata")
    return copy
