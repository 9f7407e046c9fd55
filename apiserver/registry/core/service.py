"""What is particular to Services: cluster IPs and node ports are given out here.

Source: pkg/registry/core/service/{strategy.go,storage/alloc.go}.
"""

import ipaddress
import random
from collections.abc import Callable, Iterable
from typing import Any

from apiserver.registry.strategy import GenericStrategy
from podpath.api import errors
from podpath.api.errors import FieldError
from podpath.api.scheme import SERVICES

HEADLESS = "None"
NODE_PORTS = range(30000, 32768)
_ATTEMPTS = 64


class Allocator:
    """Gives out members of a range that no stored Service uses.

    `used` tells what stored Services hold; what was given out since is remembered, because the
    cache that `used` reads lags behind storage. A member is free again when its Service is gone.
    """

    def __init__(
        self, members: "ipaddress.IPv4Network | range", used: Callable[[], Iterable[str]]
    ) -> None:
        self._members = members
        self._used = used
        self._recent: dict[str, None] = {}
        self._random = random.Random()

    def allocate(self) -> str:
        """A free member at random. Raises: ApiError (InternalError) when there is none."""
        taken = set(self._used()) | self._recent.keys()
        first, last = self._bounds()
        for _ in range(_ATTEMPTS):
            member = self._member(self._random.randint(first, last))
            if member not in taken:
                return self._remember(member)
        for index in range(first, last + 1):
            member = self._member(index)
            if member not in taken:
                return self._remember(member)
        raise errors.internal_error("range is full")

    def in_range(self, member: str) -> bool:
        """True if the range holds it."""
        if isinstance(self._members, range):
            return member.isdigit() and int(member) in self._members
        try:
            return ipaddress.ip_address(member) in self._members
        except ValueError:
            return False

    def is_used(self, member: str) -> bool:
        return member in self._recent or member in set(self._used())

    def _bounds(self) -> tuple[int, int]:
        if isinstance(self._members, range):
            return 0, len(self._members) - 1
        # Neither the network's own address nor broadcast; .1 is the Service `kubernetes`.
        return 2, self._members.num_addresses - 2

    def _member(self, index: int) -> str:
        return str(self._members[index])

    def _remember(self, member: str) -> str:
        self._recent[member] = None
        if len(self._recent) > 1024:
            self._recent.pop(next(iter(self._recent)))
        return member


class ServiceStrategy(GenericStrategy):
    """Allocates what a Service's type needs; keeps it over updates."""

    def __init__(self, cluster_ips: Allocator, node_ports: Allocator) -> None:
        super().__init__(SERVICES)
        object.__setattr__(self, "_cluster_ips", cluster_ips)
        object.__setattr__(self, "_node_ports", node_ports)

    def prepare_for_create(self, obj: Any) -> None:
        super().prepare_for_create(obj)
        self._allocate(obj)

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        spec = new.spec
        if spec.type == "ExternalName":
            spec.ClearField("clusterIP")
            spec.ClearField("clusterIPs")
            return
        if old.spec.type != "ExternalName" and not spec.clusterIP:
            spec.clusterIP = old.spec.clusterIP
            spec.ClearField("clusterIPs")
            spec.clusterIPs.extend(old.spec.clusterIPs)
        _keep_node_ports(spec, old.spec)
        self._allocate(new)

    def validate(self, obj: Any) -> list[FieldError]:
        return super().validate(obj) + self._validate_cluster_ip(obj)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        found = super().validate_update(new, old)
        before, after = old.spec.clusterIP, new.spec.clusterIP
        if before and after != before and new.spec.type != "ExternalName":
            found.append(errors.invalid("spec.clusterIPs[0]", after, "may not change once set"))
        return found

    def _validate_cluster_ip(self, obj: Any) -> list[FieldError]:
        address = obj.spec.clusterIP
        if not address or address == HEADLESS or self._cluster_ips.in_range(address):
            return []
        detail = "failed to allocate IP: the provided IP is not in the valid range"
        return [errors.invalid("spec.clusterIPs", address, detail)]

    def _allocate(self, obj: Any) -> None:
        spec = obj.spec
        if spec.type == "ExternalName":
            return
        if not spec.clusterIP:
            spec.clusterIP = spec.clusterIPs[0] if spec.clusterIPs else self._cluster_ips.allocate()
        if not spec.clusterIPs:
            spec.clusterIPs.append(spec.clusterIP)
        if not spec.ipFamilies:
            spec.ipFamilies.append("IPv4")
        if not spec.ipFamilyPolicy:
            spec.ipFamilyPolicy = "SingleStack"
        if spec.type not in ("NodePort", "LoadBalancer"):
            return
        for port in spec.ports:
            if not port.nodePort:
                port.nodePort = int(self._node_ports.allocate())

    _cluster_ips: Allocator
    _node_ports: Allocator


def _keep_node_ports(spec: Any, old: Any) -> None:
    """A port keeps its node port when an update does not name one."""
    if spec.type not in ("NodePort", "LoadBalancer"):
        return
    before = {(port.protocol, port.port): port.nodePort for port in old.ports}
    for port in spec.ports:
        if not port.nodePort and before.get((port.protocol, port.port)):
            port.nodePort = before[port.protocol, port.port]
