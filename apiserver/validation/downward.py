"""Fields of a Pod that its containers may see.

Source: pkg/apis/core/validation/validation.go (validateObjectFieldSelector,
validateContainerResourceFieldSelector), pkg/apis/core/pods/helpers.go.
"""

import re

from apiserver.validation.metadata import validate_label_name
from podpath.api.errors import FieldError, invalid, not_supported, required
from protos.k8s.core_v1_pb2 import ObjectFieldSelector, ResourceFieldSelector

ENVIRONMENT_FIELDS = {
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
    "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
}  # fmt: skip
VOLUME_FIELDS = {
    "metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations",
    "metadata.uid",
}  # fmt: skip
_KNOWN_FIELDS = ENVIRONMENT_FIELDS | VOLUME_FIELDS | {
    "spec.restartPolicy", "spec.schedulerName", "status.phase", "status.nominatedNodeName",
    "spec.hostNetwork",
}  # fmt: skip
_RESOURCES = {
    f"{kind}.{name}"
    for kind in ("limits", "requests")
    for name in ("cpu", "memory", "ephemeral-storage")
}
_DIVISORS = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"
_SUBSCRIPT = re.compile(r"(.+)\['(.*)'\]")


def validate_field_ref(
    selector: ObjectFieldSelector, fields: set[str], path: str
) -> list[FieldError]:
    if not selector.apiVersion:
        return [required(f"{path}.apiVersion")]
    if not selector.fieldPath:
        return [required(f"{path}.fieldPath")]
    if selector.apiVersion != "v1":
        detail = f"error converting fieldPath: unsupported pod version: {selector.apiVersion}"
        return [invalid(f"{path}.fieldPath", selector.fieldPath, detail)]
    subscript = _SUBSCRIPT.fullmatch(selector.fieldPath)
    if subscript is not None:
        return _subscripted(subscript[1], subscript[2], selector.fieldPath, path)
    if selector.fieldPath not in _KNOWN_FIELDS:
        detail = f"error converting fieldPath: field label not supported: {selector.fieldPath}"
        return [invalid(f"{path}.fieldPath", selector.fieldPath, detail)]
    if selector.fieldPath not in fields:
        return [not_supported(f"{path}.fieldPath", selector.fieldPath, fields)]
    return []


def _subscripted(field: str, key: str, whole: str, path: str) -> list[FieldError]:
    if field == "metadata.annotations":
        return validate_label_name(key.lower(), path)
    if field == "metadata.labels":
        return validate_label_name(key, path)
    detail = f"error converting fieldPath: field label does not support subscript: {whole}"
    return [invalid(f"{path}.fieldPath", whole, detail)]


def validate_resource_ref(
    selector: ResourceFieldSelector, path: str, in_volume: bool
) -> list[FieldError]:
    name = selector.resource
    found: list[FieldError] = []
    if in_volume and not selector.containerName:
        found.append(required(f"{path}.containerName"))
    elif not name:
        found.append(required(f"{path}.resource"))
    elif name not in _RESOURCES and not name.startswith(("limits.huge", "requests.huge")):
        found.append(not_supported(f"{path}.resource", name, _RESOURCES))
    return found + _divisor(name, selector.divisor.string, path)


def _divisor(name: str, divisor: str, path: str) -> list[FieldError]:
    if divisor in {"", "0"}:
        return []
    kind, _, what = name.partition(".")
    if kind not in {"limits", "requests"}:
        return []
    here = f"{path}.divisor"
    if what == "cpu":
        detail = "only divisor's values 1m and 1 are supported with the cpu resource"
        return [] if divisor in {"1m", "1"} else [invalid(here, name, detail)]
    resource = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(what)
    if what.startswith("hugepages-"):
        resource = "hugepages"
    if resource is None or divisor in _DIVISORS.split(", "):
        return []
    detail = f"only divisor's values {_DIVISORS} are supported with the {resource} resource"
    return [invalid(here, name, detail)]
