"""Rows of what configures a cluster: RBAC, storage, networking, scheduling, admission, leases.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go.
"""

from datetime import datetime
from typing import Any

from apiserver.http_gateway.printers.cells import (
    NONE,
    UNSET,
    Cells,
    age,
    human_duration,
    joined,
    label_selector,
    optional,
)

_SHOWN_MAX = 3
_DEFAULT_CLASS_ANNOTATIONS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def role_binding(obj: Any, now: datetime) -> Cells:
    named: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.subjects:
        is_account = subject.kind == "ServiceAccount"
        text = f"{subject.namespace}/{subject.name}" if is_account else subject.name
        named.setdefault(subject.kind, []).append(text)
    return [
        obj.metadata.name,
        f"{obj.roleRef.kind}/{obj.roleRef.name}",
        age(obj.metadata, now),
        *(", ".join(named[kind]) for kind in ("User", "Group", "ServiceAccount")),
    ]


def lease(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, obj.spec.holderIdentity, age(obj.metadata, now)]


def priority_class(obj: Any, now: datetime) -> Cells:
    return [
        obj.metadata.name,
        obj.value,
        obj.globalDefault,
        age(obj.metadata, now),
        obj.preemptionPolicy,
    ]


def runtime_class(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, obj.handler, age(obj.metadata, now)]


def storage_class(obj: Any, now: datetime) -> Cells:
    annotations = obj.metadata.annotations
    is_default = any(annotations.get(key) == "true" for key in _DEFAULT_CLASS_ANNOTATIONS)
    return [
        f"{obj.metadata.name} (default)" if is_default else obj.metadata.name,
        obj.provisioner,
        optional(obj, "reclaimPolicy", "Delete"),
        optional(obj, "volumeBindingMode", "Immediate"),
        obj.allowVolumeExpansion,
        age(obj.metadata, now),
    ]


def volume_attachment(obj: Any, now: datetime) -> Cells:
    return [
        obj.metadata.name,
        obj.spec.attacher,
        obj.spec.source.persistentVolumeName,
        obj.spec.nodeName,
        obj.status.attached,
        age(obj.metadata, now),
    ]


def csi_node(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, len(obj.spec.drivers), age(obj.metadata, now)]


def csi_driver(obj: Any, now: datetime) -> Cells:
    spec = obj.spec
    return [
        obj.metadata.name,
        optional(spec, "attachRequired", True),
        spec.podInfoOnMount,
        spec.storageCapacity,
        ",".join(request.audience for request in spec.tokenRequests) or UNSET,
        spec.requiresRepublish,
        ",".join(spec.volumeLifecycleModes) or NONE,
        age(obj.metadata, now),
    ]


def csi_storage_capacity(obj: Any, now: datetime) -> Cells:
    capacity = obj.capacity.string if obj.HasField("capacity") else UNSET
    return [obj.metadata.name, obj.storageClassName, capacity]


def network_policy(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, label_selector(obj.spec.podSelector), age(obj.metadata, now)]


def ingress(obj: Any, now: datetime) -> Cells:
    addresses = (i.ip or i.hostname for i in obj.status.loadBalancer.ingress)
    return [
        obj.metadata.name,
        optional(obj.spec, "ingressClassName", NONE),
        _hosts(obj.spec.rules),
        ",".join(sorted(set(filter(None, addresses)))),
        "80, 443" if obj.spec.tls else "80",
        age(obj.metadata, now),
    ]


def _hosts(rules: Any) -> str:
    hosts = [rule.host for rule in list(rules)[:_SHOWN_MAX] if rule.host]
    if not hosts:
        return "*"
    more = len(rules) - _SHOWN_MAX
    return ",".join(hosts) + (f" + {more} more..." if more > 0 else "")


def ingress_class(obj: Any, now: datetime) -> Cells:
    parameters = obj.spec.parameters
    text = NONE
    if obj.spec.HasField("parameters"):
        group = f".{parameters.aPIGroup}" if parameters.HasField("aPIGroup") else ""
        text = f"{parameters.kind}{group}/{parameters.name}"
    return [obj.metadata.name, obj.spec.controller, text, age(obj.metadata, now)]


def ip_address(obj: Any, now: datetime) -> Cells:
    parent = obj.spec.parentRef
    text = NONE
    if obj.spec.HasField("parentRef"):
        resource = f"{parent.resource}.{parent.group}" if parent.group else parent.resource
        text = "/".join(filter(None, (resource.lower(), parent.namespace, parent.name)))
    return [obj.metadata.name, text]


def service_cidr(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, ",".join(obj.spec.cidrs), age(obj.metadata, now)]


def endpoint_slice(obj: Any, now: datetime) -> Cells:
    ports = [str(p.port) if p.HasField("port") else (p.name or "*") for p in obj.ports]
    addresses = [address for endpoint in obj.endpoints for address in endpoint.addresses]
    return [
        obj.metadata.name,
        obj.addressType,
        joined(ports, _SHOWN_MAX, len(ports)) or UNSET,
        joined(addresses, _SHOWN_MAX, len(addresses)) or UNSET,
        age(obj.metadata, now),
    ]


def signing_request(obj: Any, now: datetime) -> Cells:
    spec = obj.spec
    has_duration = spec.HasField("expirationSeconds")
    return [
        obj.metadata.name,
        age(obj.metadata, now),
        spec.signerName or NONE,
        spec.username,
        human_duration(spec.expirationSeconds) if has_duration else NONE,
        _signing_status(obj),
    ]


def _signing_status(obj: Any) -> str:
    kinds = {condition.type for condition in obj.status.conditions}
    verdict = next((kind for kind in ("Denied", "Approved") if kind in kinds), "Pending")
    words = [verdict]
    if "Failed" in kinds:
        words.append("Failed")
    if obj.status.certificate:
        words.append("Issued")
    return ",".join(words)


def flow_schema(obj: Any, now: datetime) -> Cells:
    spec = obj.spec
    has_method = spec.HasField("distinguisherMethod")
    dangling = next((c.status for c in obj.status.conditions if c.type == "Dangling"), "?")
    return [
        obj.metadata.name,
        spec.priorityLevelConfiguration.name,
        spec.matchingPrecedence,
        spec.distinguisherMethod.type if has_method else NONE,
        age(obj.metadata, now),
        dangling,
    ]


def priority_level(obj: Any, now: datetime) -> Cells:
    spec = obj.spec
    shares = queues = hand_size = length = NONE
    if spec.HasField("limited"):
        shares = spec.limited.nominalConcurrencyShares
        response = spec.limited.limitResponse
        if response.HasField("queuing"):
            queuing = response.queuing
            queues, hand_size = queuing.queues, queuing.handSize
            length = queuing.queueLengthLimit
    return [
        obj.metadata.name,
        spec.type,
        shares,
        queues,
        hand_size,
        length,
        age(obj.metadata, now),
    ]


def webhook_configuration(obj: Any, now: datetime) -> Cells:
    return [obj.metadata.name, len(obj.webhooks), age(obj.metadata, now)]


def admission_policy(obj: Any, now: datetime) -> Cells:
    kind = obj.spec.paramKind
    text = f"{kind.apiVersion}/{kind.kind}" if obj.spec.HasField("paramKind") else UNSET
    return [obj.metadata.name, len(obj.spec.validations), text, age(obj.metadata, now)]


def admission_policy_binding(obj: Any, now: datetime) -> Cells:
    parameter = obj.spec.paramRef
    text = f"{parameter.namespace or '*'}/{parameter.name}" if parameter.name else UNSET
    return [obj.metadata.name, obj.spec.policyName, text, age(obj.metadata, now)]
