"""Services.

Source: pkg/apis/core/validation/validation.go (ValidateService, ValidateServiceUpdate).
"""

from apiserver.validation.core import cidr_problems
from apiserver.validation.metadata import validate_label_name, validate_labels
from apiserver.validation.probes import validate_port
from podpath.api import names
from podpath.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from protos.k8s.core_v1_pb2 import Service, ServicePort, ServiceSpec

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_TRAFFIC = ("Cluster", "Local")
_KUBELET_PORT = 10250
_AFFINITY_SECONDS_MAX = 86400


def validate_service(service: Service) -> list[FieldError]:
    spec = service.spec
    headless = spec.clusterIP == "None"
    found: list[FieldError] = []
    if not spec.ports and not headless and spec.type != "ExternalName":
        found.append(required("spec.ports"))
    found += _type_rules(spec, headless)
    found += _ports(spec, headless)
    if spec.selector:
        found += validate_labels(spec.selector, "spec.selector")
    found += _session_affinity(spec)
    found += _addresses(spec)
    if not spec.type:
        found.append(required("spec.type"))
    elif spec.type not in _TYPES:
        found.append(not_supported("spec.type", spec.type, _TYPES))
    found += _node_ports(spec)
    return found + _traffic(spec)


def validate_service_update(new: Service, old: Service) -> list[FieldError]:
    new = _aligned(new, old)
    found: list[FieldError] = []
    addresses = list(new.spec.clusterIPs)
    keeps_type = new.spec.type != "ExternalName" and old.spec.type != "ExternalName"
    if keeps_type and old.spec.clusterIPs and addresses[:1] != list(old.spec.clusterIPs)[:1]:
        found.append(invalid("spec.clusterIPs[0]", addresses, "may not change once set"))
    return found + validate_service(new)


def _aligned(new: Service, old: Service) -> Service:
    """With what an old client leaves out: addresses that stay, and the list of the one changed."""
    aligned = Service()
    aligned.CopyFrom(new)
    spec = aligned.spec
    if spec.type == "ExternalName":
        return aligned
    if not spec.clusterIP and not spec.clusterIPs:
        spec.clusterIP = old.spec.clusterIP
        spec.clusterIPs.extend(old.spec.clusterIPs)
    elif spec.clusterIP != old.spec.clusterIP and spec.clusterIPs == old.spec.clusterIPs:
        spec.clusterIPs[:] = [spec.clusterIP] if spec.clusterIP else []
    return aligned


def _type_rules(spec: ServiceSpec, headless: bool) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.type in {"LoadBalancer", "NodePort"} and headless:
        detail = f"may not be set to 'None' for {spec.type} services"
        found.append(invalid("spec.clusterIPs[0]", "None", detail))
    if spec.type == "LoadBalancer":
        detail = f"may not expose port {_KUBELET_PORT} externally since it is used by kubelet"
        found += [
            invalid(f"spec.ports[{index}]", port.port, detail)
            for index, port in enumerate(spec.ports)
            if port.port == _KUBELET_PORT
        ]
    if spec.type == "ExternalName":
        detail = "may not be set for ExternalName services"
        found += [
            forbidden_field(f"spec.{name}", detail)
            for name in ("clusterIPs", "ipFamilies")
            if getattr(spec, name)
        ]
        if spec.HasField("ipFamilyPolicy"):
            found.append(forbidden_field("spec.ipFamilyPolicy", detail))
        name = spec.externalName.removesuffix(".")
        if name:
            texts = names.dns_subdomain_problems(name)
            found += [invalid("spec.externalName", name, text) for text in texts]
        else:
            found.append(required("spec.externalName"))
    return found


def _ports(spec: ServiceSpec, headless: bool) -> list[FieldError]:
    found: list[FieldError] = []
    seen_names: set[str] = set()
    seen_ports: set[tuple[str, int]] = set()
    duplicates: list[FieldError] = []
    for index, port in enumerate(spec.ports):
        here = f"spec.ports[{index}]"
        found += _port(port, len(spec.ports) > 1, seen_names, here)
        key = (port.protocol, port.port)
        if key in seen_ports:
            shown = {
                "Name": "", "Protocol": port.protocol, "AppProtocol": None, "Port": port.port,
                "TargetPort": 0, "NodePort": 0,
            }  # fmt: skip
            duplicates.append(duplicate(here, shown))
        seen_ports.add(key)
    return found + duplicates


def _port(port: ServicePort, needs_name: bool, seen: set[str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if needs_name and not port.name:
        found.append(required(f"{path}.name"))
    elif port.name:
        texts = names.dns_label_problems(port.name)
        found += [invalid(f"{path}.name", port.name, text) for text in texts]
        if port.name in seen:
            found.append(duplicate(f"{path}.name", port.name))
        seen.add(port.name)
    texts = names.port_number_problems(port.port)
    found += [invalid(f"{path}.port", port.port, text) for text in texts]
    if not port.protocol:
        found.append(required(f"{path}.protocol"))
    elif port.protocol not in _PROTOCOLS:
        found.append(not_supported(f"{path}.protocol", port.protocol, _PROTOCOLS))
    found += validate_port(port.targetPort, f"{path}.targetPort")
    if port.HasField("appProtocol"):
        found += validate_label_name(port.appProtocol, f"{path}.appProtocol")
    return found


def _session_affinity(spec: ServiceSpec) -> list[FieldError]:
    if not spec.sessionAffinity:
        return [required("spec.sessionAffinity")]
    if spec.sessionAffinity not in {"ClientIP", "None"}:
        supported = ("ClientIP", "None")
        return [not_supported("spec.sessionAffinity", spec.sessionAffinity, supported)]
    here = "spec.sessionAffinityConfig"
    if spec.sessionAffinity == "None":
        if spec.HasField("sessionAffinityConfig"):
            return [forbidden_field(here, "must not be set when session affinity is None")]
        return []
    if not spec.sessionAffinityConfig.clientIP.HasField("timeoutSeconds"):
        return [required(f"{here}.clientIP.timeoutSeconds")]
    seconds = spec.sessionAffinityConfig.clientIP.timeoutSeconds
    if 0 < seconds <= _AFFINITY_SECONDS_MAX:
        return []
    detail = f"must be greater than 0 and less than {_AFFINITY_SECONDS_MAX}"
    return [invalid(f"{here}.clientIP.timeoutSeconds", seconds, detail)]


def _addresses(spec: ServiceSpec) -> list[FieldError]:
    found: list[FieldError] = []
    for index, address in enumerate(spec.clusterIPs):
        if address != "None":
            texts = names.ip_problems(address)
            found += [invalid(f"spec.clusterIPs[{index}]", address, text) for text in texts]
    if spec.clusterIP and spec.clusterIPs and spec.clusterIPs[0] != spec.clusterIP:
        detail = "first value must match `clusterIP`"
        found.append(invalid("spec.clusterIPs[0]", spec.clusterIPs[0], detail))
    elif spec.clusterIP not in {"", "None"} and not spec.clusterIPs:
        texts = names.ip_problems(spec.clusterIP)
        found += [invalid("spec.clusterIPs[0]", spec.clusterIP, text) for text in texts]
    for index, address in enumerate(spec.externalIPs):
        texts = names.ip_problems(address)
        found += [invalid(f"spec.externalIPs[{index}]", address, text) for text in texts]
    if spec.loadBalancerSourceRanges:
        here = "spec.LoadBalancerSourceRanges"
        if spec.type != "LoadBalancer":
            detail = "may only be used when `type` is 'LoadBalancer'"
            found.append(forbidden_field(here, detail))
        for index, cidr in enumerate(spec.loadBalancerSourceRanges):
            found += cidr_problems(cidr.strip(), f"{here}[{index}]")
    return found


def _node_ports(spec: ServiceSpec) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.ports):
        here = f"spec.ports[{index}].nodePort"
        if not port.nodePort:
            continue
        if spec.type == "ClusterIP":
            found.append(forbidden_field(here, "may not be used when `type` is 'ClusterIP'"))
        key = (port.protocol, port.nodePort)
        if key in seen:
            found.append(duplicate(here, port.nodePort))
        seen.add(key)
    return found


def _traffic(spec: ServiceSpec) -> list[FieldError]:
    found: list[FieldError] = []
    only_balanced = "may only be used when `type` is 'LoadBalancer'"
    if spec.HasField("allocateLoadBalancerNodePorts") and spec.type != "LoadBalancer":
        found.append(forbidden_field("spec.allocateLoadBalancerNodePorts", only_balanced))
    if spec.HasField("loadBalancerClass") and spec.type != "LoadBalancer":
        found.append(forbidden_field("spec.loadBalancerClass", only_balanced))
    policy = spec.externalTrafficPolicy
    here = "spec.externalTrafficPolicy"
    external = spec.type in {"LoadBalancer", "NodePort"} or bool(spec.externalIPs)
    if not external and policy:
        detail = "may only be set for externally-accessible services"
        found.append(invalid(here, policy, detail))
    elif external and not policy:
        found.append(required(here))
    elif external and policy not in _TRAFFIC:
        found.append(not_supported(here, policy, _TRAFFIC))
    if spec.HasField("internalTrafficPolicy") and spec.internalTrafficPolicy not in _TRAFFIC:
        here = "spec.internalTrafficPolicy"
        found.append(not_supported(here, spec.internalTrafficPolicy, _TRAFFIC))
    return found
