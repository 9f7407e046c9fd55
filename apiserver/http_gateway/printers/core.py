"""Rows of the core group, Pods excepted.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go.
"""

from datetime import datetime
from typing import Any

from apiserver.http_gateway.printers.cells import (
    NONE,
    UNKNOWN,
    UNSET,
    Cells,
    access_modes,
    age,
    container_cells,
    joined,
    labels,
    optional,
    since,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"
_STORAGE_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_ENDPOINTS_SHOWN_MAX = 3


def node(obj: Any, now: datetime) -> Cells:
    info = obj.status.nodeInfo
    return [
        obj.metadata.name,
        _node_status(obj),
        ",".join(_node_roles(obj)) or NONE,
        age(obj.metadata, now),
        info.kubeletVersion,
        _node_address(obj, "InternalIP"),
        _node_address(obj, "ExternalIP"),
        info.osImage or UNKNOWN,
        info.kernelVersion or UNKNOWN,
        info.containerRuntimeVersion or UNKNOWN,
    ]


def _node_status(obj: Any) -> str:
    ready = [c.status == "True" for c in obj.status.conditions if c.type == "Ready"]
    words = ["Unknown"] if not ready else ["Ready" if ready[-1] else "NotReady"]
    if obj.spec.unschedulable:
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(obj: Any) -> list[str]:
    roles = set()
    for key, value in obj.metadata.labels.items():
        if key.startswith(_ROLE_PREFIX):
            roles.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE_LABEL:
            roles.add(value)
    return sorted(roles - {""})


def _node_address(obj: Any, kind: str) -> str:
    found = (a.address for a in obj.status.addresses if a.type == kind)
    return next(found, NONE)


def service(obj: Any, now: datetime) -> Cells:
    spec = obj.spec
    return [
        obj.metadata.name,
        spec.type,
        spec.clusterIPs[0] if spec.clusterIPs else NONE,
        _external_ip(obj),
        ",".join(map(_service_port, spec.ports)) or NONE,
        age(obj.metadata, now),
        labels(spec.selector),
    ]


def _external_ip(obj: Any) -> str:
    kind, listed = obj.spec.type, list(obj.spec.externalIPs)
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(listed) or NONE
    if kind == "ExternalName":
        return str(obj.spec.externalName)
    if kind == "LoadBalancer":
        ingress = {i.ip or i.hostname for i in obj.status.loadBalancer.ingress} - {""}
        return ",".join([*sorted(ingress), *listed]) or "<pending>"
    return UNKNOWN


def _service_port(port: Any) -> str:
    node_port = f":{port.nodePort}" if port.nodePort else ""
    return f"{port.port}{node_port}/{port.protocol}"


def endpoints(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, _endpoints(obj), age(obj.metadata, now)]


def _endpoints(obj: Any) -> str:
    if not obj.subsets:
        return NONE
    found: list[str] = []
    for subset in obj.subsets:
        if not subset.ports:
            found += (a.ip for a in subset.addresses)
        found += (_host_port(a.ip, p.port) for p in subset.ports for a in subset.addresses)
    return joined(found, _ENDPOINTS_SHOWN_MAX, len(found))


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def event(obj: Any, now: datetime) -> Cells:
    first = since(obj.firstTimestamp, now)
    if not obj.firstTimestamp.seconds:
        first = since(obj.eventTime, now)
    last = since(obj.lastTimestamp, now) if obj.lastTimestamp.seconds else first
    count = obj.count or 1
    if obj.HasField("series"):
        last, count = since(obj.series.lastObservedTime, now), obj.series.count
    involved = obj.involvedObject
    source = [
        obj.source.component or obj.reportingComponent,
        obj.source.host or obj.reportingInstance,
    ]
    return [
        last,
        obj.type,
        obj.reason,
        _target(involved.kind, involved.name),
        involved.fieldPath,
        ", ".join(filter(None, source)),
        obj.message.strip(),
        first,
        count,
        obj.metadata.name,
    ]


def events_v1_event(obj: Any, now: datetime) -> Cells:
    """The same columns from the fields of events.k8s.io/v1."""
    first = since(obj.deprecatedFirstTimestamp, now)
    if not obj.deprecatedFirstTimestamp.seconds:
        first = since(obj.eventTime, now)
    has_last = bool(obj.deprecatedLastTimestamp.seconds)
    last = since(obj.deprecatedLastTimestamp, now) if has_last else first
    count = obj.deprecatedCount or 1
    if obj.HasField("series"):
        last, count = since(obj.series.lastObservedTime, now), obj.series.count
    source = [
        obj.deprecatedSource.component or obj.reportingController,
        obj.deprecatedSource.host or obj.reportingInstance,
    ]
    regarding = obj.regarding
    return [
        last,
        obj.type,
        obj.reason,
        _target(regarding.kind, regarding.name),
        regarding.fieldPath,
        ", ".join(filter(None, source)),
        obj.note.strip(),
        first,
        count,
        obj.metadata.name,
    ]


def _target(kind: str, name: str) -> str:
    return f"{kind.lower()}/{name}" if name else kind.lower()


def namespace(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, obj.status.phase, age(obj.metadata, now)]


def config_map(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, len(obj.data) + len(obj.binaryData), age(obj.metadata, now)]


def secret(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, obj.type, len(obj.data), age(obj.metadata, now)]


def service_account(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, len(obj.secrets), age(obj.metadata, now)]


def replication_controller(obj: Any, now: datetime) -> Cells:
    return [
        obj.metadata.name,
        obj.spec.replicas,
        obj.status.replicas,
        obj.status.readyReplicas,
        age(obj.metadata, now),
        *container_cells(obj.spec.template.spec.containers),
        labels(obj.spec.selector),
    ]


def pod_template(obj: Any, now: datetime) -> Cells:
    template = obj.template
    return [
        obj.metadata.name,
        *container_cells(template.spec.containers),
        labels(template.metadata.labels),
    ]


def resource_quota(obj: Any, now: datetime) -> Cells:
    hard, used = obj.status.hard, obj.status.used
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        used_text = used[name].string if name in used else "0"
        text = f"{name}: {used_text}/{hard[name].string}"
        (limits if name.startswith("limits.") else requests).append(text)
    return [obj.metadata.name, ", ".join(requests), ", ".join(limits), age(obj.metadata, now)]


def component_status(obj: Any, now: datetime) -> Cells:
    for condition in obj.conditions:
        if condition.type == "Healthy":
            health = "Healthy" if condition.status == "True" else "Unhealthy"
            return [obj.metadata.name, health, condition.message, condition.error]
    return [obj.metadata.name, "Unknown", "", ""]


def persistent_volume(obj: Any, now: datetime) -> Cells:
    spec = obj.spec
    claim = spec.claimRef
    annotated = obj.metadata.annotations.get(_STORAGE_CLASS_ANNOTATION, "")
    return [
        obj.metadata.name,
        spec.capacity["storage"].string if "storage" in spec.capacity else "0",
        access_modes(spec.accessModes),
        spec.persistentVolumeReclaimPolicy,
        _phase(obj),
        f"{claim.namespace}/{claim.name}" if spec.HasField("claimRef") else "",
        annotated or spec.storageClassName,
        optional(spec, "volumeAttributesClassName"),
        obj.status.reason,
        age(obj.metadata, now),
        optional(spec, "volumeMode"),
    ]


def persistent_volume_claim(obj: Any, now: datetime) -> Cells:
    spec, status = obj.spec, obj.status
    capacity = modes = ""
    if spec.volumeName:
        modes = access_modes(status.accessModes)
        capacity = status.capacity["storage"].string if "storage" in status.capacity else "0"
    annotated = obj.metadata.annotations.get(_STORAGE_CLASS_ANNOTATION, "")
    return [
        obj.metadata.name,
        _phase(obj),
        spec.volumeName,
        capacity,
        modes,
        annotated or optional(spec, "storageClassName", ""),
        optional(spec, "volumeAttributesClassName", UNSET),
        age(obj.metadata, now),
        optional(spec, "volumeMode"),
    ]


def _phase(obj: Any) -> str:
    ending = obj.metadata.HasField("deletionTimestamp")
    return "Terminating" if ending else str(obj.status.phase)
