"""Defaults of networking.k8s.io/v1 and discovery.k8s.io/v1.

Source: pkg/apis/{networking,discovery}/v1/defaults.go.
"""

from collections.abc import Iterable

from protos.k8s.discovery_v1_pb2 import EndpointSlice
from protos.k8s.networking_v1_pb2 import IngressClass, NetworkPolicy, NetworkPolicyPort


def network_policy_defaults(policy: NetworkPolicy) -> None:
    spec = policy.spec
    if not spec.policyTypes:
        spec.policyTypes.append("Ingress")
        if spec.egress:
            spec.policyTypes.append("Egress")
    for ingress in spec.ingress:
        _port_defaults(ingress.ports)
    for egress in spec.egress:
        _port_defaults(egress.ports)


def _port_defaults(ports: Iterable[NetworkPolicyPort]) -> None:
    for port in ports:
        if not port.HasField("protocol"):
            port.protocol = "TCP"


def ingress_class_defaults(ingress_class: IngressClass) -> None:
    spec = ingress_class.spec
    if spec.HasField("parameters") and not spec.parameters.HasField("scope"):
        spec.parameters.scope = "Cluster"


def endpoint_slice_defaults(endpoint_slice: EndpointSlice) -> None:
    for port in endpoint_slice.ports:
        if not port.HasField("name"):
            port.name = ""
        if not port.HasField("protocol"):
            port.protocol = "TCP"
