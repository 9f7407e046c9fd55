"""Cluster IPs and node ports: each is given to one Service at a time.

What stored Services hold is followed through the watch cache; what a request under way holds is
claimed in memory, so that two requests never get the same. A member that the cache says is taken
is looked at in storage before a request is refused, because the cache lags behind a deletion.

Upstream keeps its claims in etcd (IPAddress objects, a bitmap of ports), which also holds between
API servers; here one API server gives them out.

Source: pkg/registry/core/service/storage/{alloc.go,storage.go},
pkg/registry/core/service/{ipallocator,portallocator}.
"""

import ipaddress
import random
from collections.abc import Callable, Iterable, Iterator

from apiserver.lister import ChangeSource, Lister
from podpath.api import errors
from podpath.api.errors import ApiError, GoValue
from podpath.api.go_text import quote
from podpath.api.scheme import SERVICES
from protos.k8s.core_v1_pb2 import Service

HEADLESS = "None"
NODE_PORTS = range(30000, 32768)
_ATTEMPTS = 64
_WITH_PORTS = ("NodePort", "LoadBalancer")

Owner = tuple[str, str]  # namespace, name
Settle = Callable[[bool], None]


class RangeFullError(Exception):
    """No member of a range is free."""


class Range:
    """The members of a range, and who has which. `first`: the lowest index given out unasked."""

    def __init__(self, members: "ipaddress.IPv4Network | range", chance: random.Random) -> None:
        self._members = members
        self._random = chance
        self._stored: dict[str, Owner] = {}
        self._claimed: dict[str, Owner] = {}

    def __contains__(self, member: str) -> bool:
        if isinstance(self._members, range):
            return member.isdigit() and int(member) in self._members
        try:
            return ipaddress.ip_address(member) in self._members
        except ValueError:
            return False

    def follow(self, old: Iterable[str], new: Iterable[str], owner: Owner) -> None:
        """A stored Service has changed: it held `old` and holds `new`."""
        for member in old:
            if self._stored.get(member) == owner:
                del self._stored[member]
        for member in new:
            self._stored[member] = owner
            self._claimed.pop(member, None)

    def claimant(self, member: str) -> Owner | None:
        """Whose request under way has it."""
        return self._claimed.get(member)

    def holder(self, member: str) -> Owner | None:
        """Which stored Service has it, as far as the cache knows."""
        return self._stored.get(member)

    def claim(self, member: str, owner: Owner) -> bool:
        """True if the claim is new."""
        if member in self._claimed:
            return False
        self._claimed[member] = owner
        return True

    def release(self, member: str) -> None:
        self._claimed.pop(member, None)

    def free_member(self) -> str:
        """At random. Raises: RangeFullError."""
        first, last = self._bounds()
        for _ in range(_ATTEMPTS):
            member = str(self._members[self._random.randint(first, last)])
            if self._is_free(member):
                return member
        for index in range(first, last + 1):
            member = str(self._members[index])
            if self._is_free(member):
                return member
        raise RangeFullError

    def _is_free(self, member: str) -> bool:
        return member not in self._stored and member not in self._claimed

    def _bounds(self) -> tuple[int, int]:
        if isinstance(self._members, range):
            return 0, len(self._members) - 1
        # Neither the network's own address nor broadcast; .1 is the Service `kubernetes`.
        return 2, self._members.num_addresses - 2

    def __str__(self) -> str:
        if isinstance(self._members, range):
            return f"{self._members[0]}-{self._members[-1]}"
        return str(self._members)


class ServiceAllocations:
    """Gives Services what their type needs. Implements `apiserver.registry.registry.Begin`."""

    def __init__(
        self,
        cluster_ip_range: str,
        lister: Lister,
        changes: ChangeSource,
        chance: random.Random | None = None,
    ) -> None:
        chance = chance or random.Random()
        self._lister = lister
        self._addresses = Range(ipaddress.IPv4Network(cluster_ip_range), chance)
        self._ports = Range(NODE_PORTS, chance)
        changes.subscribe(SERVICES, self._follow)

    async def __call__(self, service: Service, old: Service | None) -> Settle:
        """Fills in what the client left out; returns what to call with whether the Service was
        stored in the end. Raises: ApiError (Invalid, InternalError).
        """
        owner = (service.metadata.namespace, service.metadata.name)
        claims: list[tuple[Range, str]] = []

        def settle(stored: bool) -> None:
            for members, member in claims:
                members.release(member)
                if stored:
                    members.follow((), (member,), owner)

        try:
            await self._addresses_of(service, old, owner, claims)
            await self._ports_of(service, old, owner, claims)
        except BaseException:
            settle(False)
            raise
        return settle

    async def _addresses_of(
        self,
        service: Service,
        old: Service | None,
        owner: Owner,
        claims: list[tuple[Range, str]],
    ) -> None:
        spec = service.spec
        if spec.type == "ExternalName":
            return
        if not spec.clusterIP:
            spec.clusterIP = spec.clusterIPs[0] if spec.clusterIPs else ""
        if not spec.clusterIP:
            spec.clusterIP = self._take(self._addresses, owner, claims, "serviceIP")
        elif spec.clusterIP not in (HEADLESS, *held_addresses(old)) and (
            why := await self._claim(self._addresses, spec.clusterIP, owner, claims)
        ):
            addresses = list(spec.clusterIPs) or [spec.clusterIP]
            shown = GoValue(f"[]string{{{', '.join(map(quote, addresses))}}}")
            detail = f"failed to allocate IP {spec.clusterIP}: {why}"
            raise _invalid(service, errors.invalid("spec.clusterIPs", shown, detail))
        if not spec.clusterIPs:
            spec.clusterIPs.append(spec.clusterIP)

    async def _ports_of(
        self,
        service: Service,
        old: Service | None,
        owner: Owner,
        claims: list[tuple[Range, str]],
    ) -> None:
        if service.spec.type not in _WITH_PORTS:
            return
        kept = set(held_ports(old))
        for index, port in enumerate(service.spec.ports):
            if not port.nodePort:
                if _gives_ports(service):
                    port.nodePort = self._port_for(service, index, owner, claims)
                continue
            member = str(port.nodePort)
            if member in kept:
                continue
            if why := await self._claim(self._ports, member, owner, claims):
                path = f"spec.ports[{index}].nodePort"
                raise _invalid(service, errors.invalid(path, port.nodePort, why))

    def _port_for(
        self, service: Service, index: int, owner: Owner, claims: list[tuple[Range, str]]
    ) -> int:
        """One port number for two protocols gets one node port."""
        port = service.spec.ports[index]
        for other in service.spec.ports:
            same = other.port == port.port and other.protocol != port.protocol
            if same and other.nodePort:
                return other.nodePort
        return int(self._take(self._ports, owner, claims, "nodePort"))

    def _take(
        self, members: Range, owner: Owner, claims: list[tuple[Range, str]], what: str
    ) -> str:
        try:
            member = members.free_member()
        except RangeFullError:
            raise errors.internal_error(f"failed to allocate a {what}: range is full") from None
        members.claim(member, owner)
        claims.append((members, member))
        return member

    async def _claim(
        self, members: Range, member: str, owner: Owner, claims: list[tuple[Range, str]]
    ) -> str:
        """Claims a member that the client chose; why it cannot have it, "" if it can."""
        word = "port" if members is self._ports else "IP"
        if member not in members:
            if members is self._ports:
                return (
                    "provided port is not in the valid range. "
                    f"The range of valid ports is {members}"
                )
            return (
                f"the provided IP ({member}) is not in the valid range. "
                f"The range of valid IPs is {members}"
            )
        if members.claimant(member) not in (None, owner):
            return f"provided {word} is already allocated"
        # Claimed before storage is asked: another request must not get it in the meantime.
        if members.claim(member, owner):
            claims.append((members, member))
        holder = members.holder(member)
        if holder in (None, owner) or not await self._still_holds(holder, member):
            return ""
        return f"provided {word} is already allocated"

    async def _still_holds(self, holder: Owner | None, member: str) -> bool:
        assert holder is not None
        found = await self._lister.get_live(SERVICES, *holder)
        return found is not None and member in (*held_addresses(found), *held_ports(found))

    def _follow(self, old: Service | None, new: Service | None) -> None:
        meta = (new or old or Service()).metadata
        owner = (meta.namespace, meta.name)
        self._addresses.follow(held_addresses(old), held_addresses(new), owner)
        self._ports.follow(held_ports(old), held_ports(new), owner)


def held_addresses(service: Service | None) -> list[str]:
    """The cluster IPs that a Service has."""
    if service is None or service.spec.clusterIP in ("", HEADLESS):
        return []
    return list(service.spec.clusterIPs) or [service.spec.clusterIP]


def held_ports(service: Service | None) -> list[str]:
    """The node ports that a Service has."""
    return [] if service is None else list(_ports(service))


def _ports(service: Service) -> Iterator[str]:
    for port in service.spec.ports:
        if port.nodePort:
            yield str(port.nodePort)
    if service.spec.healthCheckNodePort:
        yield str(service.spec.healthCheckNodePort)


def _gives_ports(service: Service) -> bool:
    """A load balancer may do without node ports."""
    spec = service.spec
    if spec.type != "LoadBalancer" or not spec.HasField("allocateLoadBalancerNodePorts"):
        return True
    return spec.allocateLoadBalancerNodePorts


def _invalid(service: Service, found: errors.FieldError) -> ApiError:
    return errors.invalid_object("", "Service", service.metadata.name, [found])
