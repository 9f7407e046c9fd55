"""What an object counts for in a ResourceQuota: pure.

Source: k8s.io/kubernetes pkg/quota/v1/evaluator/core/{pods,services,persistent_volume_claims}.go,
pkg/quota/v1/generic.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from podpath.api import quantity, scheme
from podpath.api.quantity import Quantity
from podpath.api.scheme import Resource
from protos.k8s.core_v1_pb2 import (
    Container,
    PersistentVolumeClaim,
    Pod,
    ResourceQuota,
    Service,
)

Usage = dict[str, Quantity]

ONE = quantity.parse("1")
# Resources whose number is counted under their own name, besides count/NAME.
_PLAIN = frozenset(
    {
        scheme.CONFIGMAPS,
        scheme.SECRETS,
        scheme.RESOURCEQUOTAS,
        scheme.REPLICATIONCONTROLLERS,
    }
)
# What a Pod must state in every container where a quota bounds it.
_STATED = frozenset(
    f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory")
)
_STANDARD = ("cpu", "memory", "ephemeral-storage")
_STORAGE_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"


def usage(resource: Resource[Any], obj: Any) -> Usage:
    """What one object counts for, by the names that quotas have."""
    used = {f"count/{resource.qualified_name}": ONE}
    if isinstance(obj, Pod):
        return used | _pod_usage(obj)
    if isinstance(obj, Service):
        return used | _service_usage(obj)
    if isinstance(obj, PersistentVolumeClaim):
        return used | _claim_usage(obj)
    if resource in _PLAIN:
        used[resource.name] = ONE
    return used


def increase(after: Usage, before: Usage) -> Usage:
    """What an update counts for beyond what the object counted for."""
    more = {}
    for name, amount in after.items():
        rest = quantity.subtract(amount, before[name]) if name in before else amount
        if rest.sign > 0:
            more[name] = rest
    return more


def _pod_usage(pod: Pod) -> Usage:
    if pod.status.phase in ("Succeeded", "Failed"):
        return {}
    used = {"pods": ONE}
    requests = _pod_total(pod, "requests")
    for name, amount in requests.items():
        if name in _STANDARD:
            used[name] = amount
        if name in _STANDARD or name.startswith("hugepages-") or "/" in name:
            used[f"requests.{name}"] = amount
        if name.startswith("hugepages-"):
            used[name] = amount
    for name, amount in _pod_total(pod, "limits").items():
        if name in _STANDARD:
            used[f"limits.{name}"] = amount
    return used


def _pod_total(pod: Pod, which: str) -> Usage:
    """Containers and sidecars together, or the largest init container with those before it."""
    total = _sum(_amounts(container, which) for container in pod.spec.containers)
    sidecars: Usage = {}
    largest: Usage = {}
    for container in pod.spec.initContainers:
        amounts = _amounts(container, which)
        if container.restartPolicy == "Always":
            sidecars = _sum((sidecars, amounts))
            total = _sum((total, amounts))
            needed = sidecars
        else:
            needed = _sum((sidecars, amounts))
        largest = _maximum(largest, needed)
    total = _maximum(total, largest)
    overhead = {name: quantity.parse(q.string) for name, q in pod.spec.overhead.items()}
    if which == "limits":  # counted where there is a limit at all
        overhead = {name: amount for name, amount in overhead.items() if name in total}
    return _sum((total, overhead))


def _amounts(container: Container, which: str) -> Usage:
    return {
        name: quantity.parse(amount.string)
        for name, amount in getattr(container.resources, which).items()
    }


def _sum(parts: Iterable[Mapping[str, Quantity]]) -> Usage:
    total: Usage = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = quantity.add(total[name], amount) if name in total else amount
    return total


def _maximum(left: Usage, right: Usage) -> Usage:
    larger = dict(left)
    for name, amount in right.items():
        if name not in larger or quantity.compare(amount, larger[name]) > 0:
            larger[name] = amount
    return larger


def _service_usage(service: Service) -> Usage:
    used = {"services": ONE}
    ports = quantity.of_value(len(service.spec.ports))
    if service.spec.type == "NodePort":
        used["services.nodeports"] = ports
    elif service.spec.type == "LoadBalancer":
        used["services.loadbalancers"] = ONE
        spec = service.spec
        if not spec.HasField("allocateLoadBalancerNodePorts") or spec.allocateLoadBalancerNodePorts:
            used["services.nodeports"] = ports
    return used


def _claim_usage(claim: PersistentVolumeClaim) -> Usage:
    used = {"persistentvolumeclaims": ONE}
    storage = claim.spec.resources.requests
    if "storage" in storage:
        used["requests.storage"] = quantity.parse(storage["storage"].string)
    if name := claim.spec.storageClassName:
        prefix = name + _STORAGE_CLASS_SUFFIX
        used |= {prefix + counted: amount for counted, amount in tuple(used.items())}
    return used


def unstated(pod: Pod, bounded: Iterable[str]) -> str:
    """What containers leave out that a quota bounds: `limits.cpu for: a,b; ...`; "" if nothing."""
    missing = []
    for name in sorted(set(bounded) & _STATED):
        prefix, _, plain = name.rpartition(".")
        which = "limits" if prefix == "limits" else "requests"
        without = [
            container.name
            for container in (*pod.spec.containers, *pod.spec.initContainers)
            if plain not in getattr(container.resources, which)
        ]
        if without:
            missing.append(f"{name} for: {','.join(sorted(without))}")
    return "; ".join(missing)


def covers(quota: ResourceQuota, obj: Any) -> bool:
    """True if the quota's scopes hold the object. Scopes are about Pods only."""
    spec = quota.spec
    if not spec.scopes and not spec.scopeSelector.matchExpressions:
        return True
    if not isinstance(obj, Pod):
        return False
    return all(_in_scope(obj, scope, "Exists", ()) for scope in spec.scopes) and all(
        _in_scope(obj, e.scopeName, e.operator, e.values)
        for e in spec.scopeSelector.matchExpressions
    )


def _in_scope(pod: Pod, scope: str, operator: str, values: Iterable[str]) -> bool:
    if scope == "PriorityClass":
        name = pod.spec.priorityClassName
        return {
            "Exists": bool(name),
            "DoesNotExist": not name,
            "In": bool(name) and name in values,
            "NotIn": name not in values,
        }.get(operator, False)
    ends = pod.spec.HasField("activeDeadlineSeconds")
    best_effort = not (_pod_total(pod, "requests") or _pod_total(pod, "limits"))
    return {
        "Terminating": ends,
        "NotTerminating": not ends,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
        "CrossNamespacePodAffinity": _affine_to_other_namespaces(pod),
    }.get(scope, False)


def _affine_to_other_namespaces(pod: Pod) -> bool:
    for affinity in (pod.spec.affinity.podAffinity, pod.spec.affinity.podAntiAffinity):
        terms = [
            *affinity.requiredDuringSchedulingIgnoredDuringExecution,
            *(t.podAffinityTerm for t in affinity.preferredDuringSchedulingIgnoredDuringExecution),
        ]
        if any(term.namespaces or term.HasField("namespaceSelector") for term in terms):
            return True
    return False
