"""Default amounts for containers, and bounds for Pods, containers and claims, by namespace.

Source: k8s.io/kubernetes plugin/pkg/admission/limitranger/admission.go.
"""

from collections.abc import Iterator, Sequence

from apiserver.admission.interface import Attributes
from apiserver.admission.limits import Amounts, amounts, request_violations, violations
from apiserver.admission.pods import is_pod, pod_of
from apiserver.admission.rejection import forbidden, together
from apiserver.lister import Lister
from podpath.api import quantity, scheme
from protos.k8s.core_v1_pb2 import (
    Container,
    LimitRange,
    PersistentVolumeClaim,
    Pod,
    ResourceRequirements,
)

ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger:
    """Mutating and validating."""

    name = "LimitRanger"

    def __init__(self, lister: Lister) -> None:
        self._lister = lister

    def handles(self, attributes: Attributes) -> bool:
        if is_pod(attributes):
            return True
        target = attributes.target
        return (
            target.resource is scheme.PERSISTENTVOLUMECLAIMS
            and not target.subresource
            and attributes.operation in {"CREATE", "UPDATE"}
        )

    async def admit(self, attributes: Attributes) -> None:
        if attributes.target.resource is not scheme.PODS:
            return
        for limit_range in self._ranges(attributes):
            set_defaults(limit_range, pod_of(attributes))

    async def validate(self, attributes: Attributes) -> None:
        obj = attributes.object
        for limit_range in self._ranges(attributes):
            if isinstance(obj, Pod):
                found = list(pod_violations(limit_range, obj))
            elif isinstance(obj, PersistentVolumeClaim):
                found = list(claim_violations(limit_range, obj))
            else:
                continue
            if found:
                raise forbidden(attributes, together(found))

    def _ranges(self, attributes: Attributes) -> Sequence[LimitRange]:
        found = self._lister.list(scheme.LIMITRANGES, attributes.target.namespace)
        return sorted(found, key=lambda r: r.metadata.name)


# ---------------------------------------------------------------- defaults


def set_defaults(limit_range: LimitRange, pod: Pod) -> None:
    """Fills in missing amounts, and says so in an annotation."""
    defaults = ResourceRequirements()
    for item in limit_range.spec.limits:
        if item.type == "Container":
            for name, amount in item.defaultRequest.items():
                defaults.requests[name].CopyFrom(amount)
            for name, amount in item.default.items():
                defaults.limits[name].CopyFrom(amount)
    notes: list[str] = []
    for container in pod.spec.containers:
        notes += _fill(container, defaults, "container")
    for container in pod.spec.initContainers:
        notes += _fill(container, defaults, "init container")
    if notes:
        pod.metadata.annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)


def _fill(container: Container, defaults: ResourceRequirements, kind: str) -> Iterator[str]:
    for what in ("request", "limit"):
        own = getattr(container.resources, f"{what}s")
        given = getattr(defaults, f"{what}s")
        missing = sorted(name for name in given if name not in own)
        for name in missing:
            own[name].CopyFrom(given[name])
        if missing:
            yield f"{', '.join(missing)} {what} for {kind} {container.name}"


# ---------------------------------------------------------------- bounds


def pod_violations(limit_range: LimitRange, pod: Pod) -> Iterator[str]:
    for item in limit_range.spec.limits:
        if item.type == "Container":
            for container in (*pod.spec.containers, *pod.spec.initContainers):
                resources = container.resources
                yield from violations(item, amounts(resources.requests), amounts(resources.limits))
        elif item.type == "Pod":
            yield from violations(item, _of_pod(pod, "requests"), _of_pod(pod, "limits"))


def claim_violations(limit_range: LimitRange, claim: PersistentVolumeClaim) -> Iterator[str]:
    requests = amounts(claim.spec.resources.requests)
    for item in limit_range.spec.limits:
        if item.type == "PersistentVolumeClaim":
            yield from request_violations(item, requests)


def _of_pod(pod: Pod, what: str) -> Amounts:
    """Containers run together, init containers one after another: the sum, or the largest of
    these. Sidecars (restartable init containers) run along with the containers."""
    total: Amounts = {}
    for container in pod.spec.containers:
        _add(total, amounts(getattr(container.resources, what)))
    for container in pod.spec.initContainers:
        own = amounts(getattr(container.resources, what))
        if container.restartPolicy == "Always":
            _add(total, own)
            continue
        for name, amount in own.items():
            if name not in total or quantity.compare(amount, total[name]) > 0:
                total[name] = amount
    return total


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = quantity.add(total[name], amount) if name in total else amount
