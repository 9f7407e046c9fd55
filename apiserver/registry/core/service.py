"""What is particular to Services: which fields go with which type, and what updates keep.

Addresses and ports are given out by `service_allocation.py`.

Source: pkg/registry/core/service/{strategy.go,storage/storage.go}.
"""

from typing import Any

from apiserver.registry.strategy import GenericStrategy
from podpath.api import errors
from podpath.api.errors import FieldError

_WITH_PORTS = ("NodePort", "LoadBalancer")


class ServiceStrategy(GenericStrategy):
    """Keeps over updates what a Service was given."""

    def prepare_for_create(self, obj: Any) -> None:
        super().prepare_for_create(obj)
        _families(obj.spec)

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        spec = new.spec
        _drop_what_the_type_has_no_use_for(spec, old.spec)
        if spec.type == "ExternalName":
            return
        if old.spec.type != "ExternalName" and not spec.clusterIP:
            spec.clusterIP = old.spec.clusterIP
            spec.ClearField("clusterIPs")
            spec.clusterIPs.extend(old.spec.clusterIPs)
        _keep_node_ports(spec, old.spec)
        _families(spec)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        found = super().validate_update(new, old)
        before, after = old.spec.clusterIP, new.spec.clusterIP
        if before and after != before and new.spec.type != "ExternalName":
            found.append(errors.invalid("spec.clusterIPs[0]", after, "may not change once set"))
        return found


def _families(spec: Any) -> None:
    """Clusters are of one family here."""
    if spec.type == "ExternalName":
        return
    if not spec.ipFamilies:
        spec.ipFamilies.append("IPv4")
    if not spec.ipFamilyPolicy:
        spec.ipFamilyPolicy = "SingleStack"


def _keep_node_ports(spec: Any, old: Any) -> None:
    """A port keeps its node port when an update does not name one."""
    if spec.type not in _WITH_PORTS:
        return
    before = {(port.protocol, port.port): port.nodePort for port in old.ports}
    for port in spec.ports:
        if not port.nodePort and before.get((port.protocol, port.port)):
            port.nodePort = before[port.protocol, port.port]


# Fields that only some types have: they go with the type unless the update changes them.
_OF_TYPES = (
    (("NodePort", "LoadBalancer"), ("externalTrafficPolicy",)),
    (("LoadBalancer",), ("allocateLoadBalancerNodePorts", "loadBalancerClass")),
    (("LoadBalancer",), ("healthCheckNodePort",)),
    (
        ("ClusterIP", "NodePort", "LoadBalancer"),
        ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"),
    ),
)


def _drop_what_the_type_has_no_use_for(spec: Any, old: Any) -> None:
    for types, fields in _OF_TYPES:
        if old.type not in types or spec.type in types:
            continue
        for field in fields:
            if getattr(spec, field) == getattr(old, field):
                spec.ClearField(field)
    if old.type in _WITH_PORTS and spec.type not in _WITH_PORTS:
        before = {port.nodePort for port in old.ports}
        for port in spec.ports:
            if port.nodePort in before:
                port.nodePort = 0
