"""Amounts of resources: names, signs, requests within limits.

Source: pkg/apis/core/validation/validation.go (ValidateContainerResourceRequirements),
pkg/apis/core/helper/helpers.go.
"""

from collections.abc import Callable, Mapping

from apiserver.validation.metadata import NOT_NEGATIVE
from podpath.api import names, quantity
from podpath.api.errors import FieldError, GoValue, forbidden_field, invalid, required
from podpath.api.quantity import Quantity
from protos.k8s import resource_pb2
from protos.k8s.core_v1_pb2 import ResourceRequirements

Amounts = Mapping[str, resource_pb2.Quantity]
NameRule = Callable[[str, str], list[FieldError]]

NOT_INTEGER = "must be an integer"
_CONTAINER_RESOURCES = {"cpu", "memory", "ephemeral-storage"}
QUOTA_RESOURCES = _CONTAINER_RESOURCES | {
    "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
    "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas",
    "services", "replicationcontrollers", "secrets", "persistentvolumeclaims", "configmaps",
    "services.nodeports", "services.loadbalancers",
}  # fmt: skip
_INTEGER_RESOURCES = {
    "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
    "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
}  # fmt: skip
_ZERO = quantity.parse("0")


def parsed(amount: resource_pb2.Quantity) -> Quantity:
    """The amount; zero if it is no quantity, which `bad_amount` reports."""
    try:
        return quantity.parse(amount.string or "0")
    except quantity.QuantityError:
        return _ZERO


def is_huge_page(name: str) -> bool:
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    if is_native(name) or name.startswith("requests."):
        return False
    return not names.label_key_problems(f"requests.{name}")


def may_overcommit(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)


def validate_amount(name: str, amount: resource_pb2.Quantity, path: str) -> list[FieldError]:
    """Not negative; whole where the resource is counted in pieces."""
    try:
        value = quantity.parse(amount.string or "0")
    except quantity.QuantityError as error:
        return [invalid(path, amount.string, str(error))]
    found = []
    if value.unscaled < 0:
        found.append(invalid(path, value.text, NOT_NEGATIVE))
    counted = name in _INTEGER_RESOURCES or is_extended(name)
    if counted and value.milli_value() % 1000:
        found.append(invalid(path, value.text, NOT_INTEGER))
    return found


def validate_resource_name(name: str, path: str) -> list[FieldError]:
    told = GoValue(name)
    found = [invalid(path, told, problem) for problem in names.label_key_problems(name)]
    if found or "/" in name:
        return found
    standard = QUOTA_RESOURCES | {"storage"}
    if name not in standard and not is_huge_page(name.removeprefix("requests.")):
        return [invalid(path, told, "must be a standard resource type or fully qualified")]
    return []


def container_resource_name(name: str, path: str) -> list[FieldError]:
    if name in _CONTAINER_RESOURCES:
        return []
    found = validate_resource_name(name, path)
    if "/" not in name:
        if not is_huge_page(name):
            found.append(invalid(path, GoValue(name), "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        found.append(invalid(path, GoValue(name), "doesn't follow extended resource name standard"))
    return found


def quota_resource_name(name: str, path: str) -> list[FieldError]:
    found = validate_resource_name(name, path)
    plain = "/" not in name and name not in QUOTA_RESOURCES
    if plain and not is_huge_page(name.removeprefix("requests.")):
        found.append(invalid(path, GoValue(name), "must be a standard resource for quota"))
    return found


def validate_requirements(
    resources: ResourceRequirements, path: str, name_rule: NameRule = container_resource_name
) -> list[FieldError]:
    """Requests and limits of a container."""
    found: list[FieldError] = []
    limits, requests = resources.limits, resources.requests
    for name in sorted(limits):
        found += _one(name, limits[name], f"{path}.limits[{name}]", name_rule)
    for name in sorted(requests):
        found += _one(name, requests[name], f"{path}.requests[{name}]", name_rule)
        found += _within_limit(name, requests[name], limits, path)
    asked = {*limits, *requests}
    if any(map(is_huge_page, asked)) and not asked & {"cpu", "memory"}:
        found.append(forbidden_field(path, "HugePages require cpu or memory"))
    for index, claim in enumerate(resources.claims):
        if not claim.name:
            found.append(required(f"{path}.claims[{index}].name"))
    return found


def _one(
    name: str, amount: resource_pb2.Quantity, path: str, name_rule: NameRule
) -> list[FieldError]:
    return name_rule(name, path) + validate_amount(name, amount, path)


def _within_limit(
    name: str, amount: resource_pb2.Quantity, limits: Amounts, path: str
) -> list[FieldError]:
    if name not in limits:
        if may_overcommit(name):
            return []
        detail = "Limit must be set for non overcommitable resources"
        return [required(f"{path}.limits", detail)]
    request, limit = parsed(amount), parsed(limits[name])
    order = quantity.compare(request, limit)
    if order and not may_overcommit(name):
        detail = f"must be equal to {name} limit of {limit}"
    elif order > 0:
        detail = f"must be less than or equal to {name} limit of {limit}"
    else:
        return []
    return [invalid(f"{path}.requests", request.text, detail)]
