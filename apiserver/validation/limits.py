"""LimitRanges and ResourceQuotas.

Source: pkg/apis/core/validation/validation.go (ValidateLimitRange, ValidateResourceQuota).
"""

from collections.abc import Mapping, Sequence

from apiserver.validation.metadata import IMMUTABLE, validate_label_name
from apiserver.validation.resources import (
    QUOTA_RESOURCES,
    container_resource_name,
    may_overcommit,
    parsed,
    quota_resource_name,
    validate_amount,
    validate_resource_name,
)
from podpath.api import quantity
from podpath.api.errors import (
    FieldError,
    GoValue,
    duplicate,
    forbidden_field,
    invalid,
    required,
)
from podpath.api.go_text import quote
from podpath.api.quantity import Quantity
from protos.k8s.core_v1_pb2 import LimitRange, LimitRangeItem, ResourceQuota

_TYPES = {"Pod", "Container", "PersistentVolumeClaim"}
_SCOPES = {
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass",
    "CrossNamespacePodAffinity",
}  # fmt: skip
_POD_RESOURCES = {
    "pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
}  # fmt: skip
# (value told, lower, upper, field told, text)
_ORDERS = (
    ("min", "max", "min", "min value {0} is greater than max value {1}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "min value {0} is greater than default request value {1}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "default request value {0} is greater than max value {1}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "default request value {0} is greater than default limit value {1}",
    ),
    ("min", "default", "default", "min value {0} is greater than default value {1}"),
    ("default", "max", "default", "default value {0} is greater than max value {1}"),
)
_TOLD = {("min", "default"): 0, ("default", "max"): 1, ("min", "defaultRequest"): 1}
_ONE = quantity.parse("1")


def validate_limit_range(limit_range: LimitRange) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, item in enumerate(limit_range.spec.limits):
        here = f"spec.limits[{index}]"
        found += _type_name(item.type, f"{here}.type")
        if item.type in seen:
            found.append(duplicate(f"{here}.type", item.type))
        seen.add(item.type)
        found += _item(item, here)
    return found


def _type_name(kind: str, path: str) -> list[FieldError]:
    found = validate_label_name(kind, path)
    if not found and "/" not in kind and kind not in _TYPES:
        detail = "must be a standard limit type or fully qualified"
        found.append(invalid(path, kind, detail))
    return found


def _item(item: LimitRangeItem, path: str) -> list[FieldError]:
    fields = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
    found: list[FieldError] = []
    if item.type == "Pod":
        for name in ("default", "defaultRequest"):
            if getattr(item, name):
                detail = "may not be specified when `type` is 'Pod'"
                found.append(forbidden_field(f"{path}.{name}", detail))
            fields.remove(name)
    amounts: dict[str, dict[str, Quantity]] = {}
    rule = container_resource_name if item.type in {"Pod", "Container"} else validate_resource_name
    for name in fields:
        given = getattr(item, name)
        for resource in sorted(given):
            found += rule(resource, f"{path}.{name}[{resource}]")
        amounts[name] = {resource: parsed(given[resource]) for resource in given}
    if item.type == "PersistentVolumeClaim" and not {"storage"} & {*item.min, *item.max}:
        detail = "either minimum or maximum storage value is required, but neither was provided"
        found.append(required(f"{path}.limits", detail))
    for resource in sorted({key for given in amounts.values() for key in given}):
        of_resource = {name: q[resource] for name, q in amounts.items() if resource in q}
        found += _orders(of_resource, resource, path)
    return found


def _orders(amounts: Mapping[str, Quantity], resource: str, path: str) -> list[FieldError]:
    found = []
    for lower, upper, told, text in _ORDERS:
        if lower in amounts and upper in amounts:
            pair = (amounts[lower], amounts[upper])
            if quantity.compare(*pair) > 0:
                value = pair[_TOLD.get((lower, upper), 0)]
                found.append(invalid(f"{path}.{told}[{resource}]", value.text, text.format(*pair)))
    ratio = amounts.get("maxLimitRequestRatio")
    here = f"{path}.maxLimitRequestRatio[{resource}]"
    if ratio is not None:
        if quantity.compare(ratio, _ONE) < 0:
            found.append(invalid(here, ratio.text, f"ratio {ratio} is less than 1"))
        if "min" in amounts and "max" in amounts and amounts["min"].unscaled:
            limit = amounts["max"].milli_value() / amounts["min"].milli_value()
            if ratio.milli_value() / 1000 > limit:
                detail = f"ratio {ratio} is greater than max/min = {limit:f}"
                found.append(invalid(here, ratio.text, detail))
    if not may_overcommit(resource) and {"default", "defaultRequest"} <= amounts.keys():
        limit_value, request = amounts["default"], amounts["defaultRequest"]
        if quantity.compare(limit_value, request):
            detail = (
                f"default value {limit_value} must equal to defaultRequest value {request} in "
                f"{resource}"
            )
            found.append(invalid(f"{path}.defaultRequest[{resource}]", request.text, detail))
    return found


def validate_resource_quota(quota: ResourceQuota) -> list[FieldError]:
    found: list[FieldError] = []
    for name in sorted(quota.spec.hard):
        here = f"spec.hard[{name}]"
        found += quota_resource_name(name, here)
        found += validate_amount(name, quota.spec.hard[name], here)
    scopes = _go_scopes(quota.spec.scopes)
    given = set(quota.spec.scopes)
    for scope in quota.spec.scopes:
        if scope not in _SCOPES:
            found.append(invalid("spec.scopes", scopes, "unsupported scope"))
        found += [
            invalid("spec.scopes", scopes, "unsupported scope applied to resource")
            for name in sorted(quota.spec.hard)
            if scope in _SCOPES and _counts_no_pods(scope, name)
        ]
    for pair in ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}):
        if pair <= given:
            found.append(invalid("spec.scopes", scopes, "conflicting scopes"))
    return found


def _go_scopes(scopes: Sequence[str]) -> GoValue:
    listed = ", ".join(map(quote, scopes))
    return GoValue(f"[]core.ResourceQuotaScope{{{listed}}}")


def _counts_no_pods(scope: str, resource: str) -> bool:
    """True for a standard resource that is no property of Pods, which scopes select."""
    if resource not in QUOTA_RESOURCES:
        return False
    return resource not in ({"pods"} if scope == "BestEffort" else _POD_RESOURCES)


def validate_resource_quota_update(new: ResourceQuota, old: ResourceQuota) -> list[FieldError]:
    found = validate_resource_quota(new)
    if set(new.spec.scopes) != set(old.spec.scopes):
        found.append(invalid("spec.scopes", _go_scopes(new.spec.scopes), IMMUTABLE))
    return found
