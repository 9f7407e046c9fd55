"""Defaults of the core group, apart from Pods.

Source: pkg/apis/core/v1/defaults.go.
"""

from apiserver.defaulting.int_or_string import set_value
from apiserver.defaulting.pod import pod_spec_defaults
from apiserver.defaulting.quantities import round_up
from protos.k8s.core_v1_pb2 import (
    Endpoints,
    LimitRange,
    LimitRangeItem,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    ReplicationController,
    ResourceQuota,
    Secret,
    Service,
    ServiceSpec,
)

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
_CLIENT_IP_SECONDS = 10800


def namespace_defaults(namespace: Namespace) -> None:
    if namespace.metadata.name:
        namespace.metadata.labels[NAMESPACE_NAME_LABEL] = namespace.metadata.name
    if not namespace.status.phase:
        namespace.status.phase = "Active"


def node_defaults(node: Node) -> None:
    status = node.status
    round_up(status.capacity)
    round_up(status.allocatable)
    if not status.allocatable:
        for name in status.capacity:
            status.allocatable[name].CopyFrom(status.capacity[name])


def secret_defaults(secret: Secret) -> None:
    secret.type = secret.type or "Opaque"


def endpoints_defaults(endpoints: Endpoints) -> None:
    for subset in endpoints.subsets:
        for port in subset.ports:
            port.protocol = port.protocol or "TCP"


def service_defaults(service: Service) -> None:
    spec = service.spec
    spec.type = spec.type or "ClusterIP"
    _session_affinity(spec)
    for port in spec.ports:
        port.protocol = port.protocol or "TCP"
        if not port.targetPort.intVal and not port.targetPort.strVal:
            set_value(port.targetPort, port.port)
    external = spec.type in {"LoadBalancer", "NodePort"}
    if not spec.externalTrafficPolicy and (
        external or (spec.type == "ClusterIP" and spec.externalIPs)
    ):
        spec.externalTrafficPolicy = "Cluster"
    if not spec.HasField("internalTrafficPolicy") and (external or spec.type == "ClusterIP"):
        spec.internalTrafficPolicy = "Cluster"
    if spec.type == "LoadBalancer":
        if not spec.HasField("allocateLoadBalancerNodePorts"):
            spec.allocateLoadBalancerNodePorts = True
        for ingress in service.status.loadBalancer.ingress:
            if ingress.ip and not ingress.HasField("ipMode"):
                ingress.ipMode = "VIP"


def _session_affinity(spec: ServiceSpec) -> None:
    spec.sessionAffinity = spec.sessionAffinity or "None"
    if spec.sessionAffinity == "None":
        spec.ClearField("sessionAffinityConfig")
    elif spec.sessionAffinity == "ClientIP":
        client_ip = spec.sessionAffinityConfig.clientIP
        if not client_ip.HasField("timeoutSeconds"):
            client_ip.timeoutSeconds = _CLIENT_IP_SECONDS


def persistent_volume_defaults(volume: PersistentVolume) -> None:
    round_up(volume.spec.capacity)
    volume.status.phase = volume.status.phase or "Pending"
    spec = volume.spec
    spec.persistentVolumeReclaimPolicy = spec.persistentVolumeReclaimPolicy or "Retain"
    if not spec.HasField("volumeMode"):
        spec.volumeMode = "Filesystem"
    host_path = spec.persistentVolumeSource
    if host_path.HasField("hostPath") and not host_path.hostPath.HasField("type"):
        host_path.hostPath.type = ""


def persistent_volume_claim_defaults(claim: PersistentVolumeClaim) -> None:
    claim.status.phase = claim.status.phase or "Pending"
    if not claim.spec.HasField("volumeMode"):
        claim.spec.volumeMode = "Filesystem"
    round_up(claim.spec.resources.requests)
    round_up(claim.spec.resources.limits)
    round_up(claim.status.capacity)


def resource_quota_defaults(quota: ResourceQuota) -> None:
    round_up(quota.spec.hard)
    round_up(quota.status.hard)
    round_up(quota.status.used)


def limit_range_defaults(limit_range: LimitRange) -> None:
    for item in limit_range.spec.limits:
        if item.type == "Container":
            _container_limit_defaults(item)
        for amounts in (
            item.max, item.min, item.default, item.defaultRequest, item.maxLimitRequestRatio,
        ):  # fmt: skip
            round_up(amounts)


def _container_limit_defaults(item: LimitRangeItem) -> None:
    """The default limit comes from the maximum, the default request from the default limit, else
    from the minimum."""
    for target, source in (
        (item.default, item.max),
        (item.defaultRequest, item.default),
        (item.defaultRequest, item.min),
    ):
        for name in source:
            if name not in target:
                target[name].CopyFrom(source[name])


def replication_controller_defaults(controller: ReplicationController) -> None:
    spec = controller.spec
    if spec.HasField("template"):
        labels = spec.template.metadata.labels
        if not spec.selector:
            spec.selector.update(labels)
        if not controller.metadata.labels:
            controller.metadata.labels.update(labels)
        pod_spec_defaults(spec.template.spec)
    if not spec.HasField("replicas"):
        spec.replicas = 1
