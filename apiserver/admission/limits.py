"""Compares amounts with one item of a LimitRange.

Source: k8s.io/kubernetes plugin/pkg/admission/limitranger/admission.go (minConstraint,
maxConstraint, limitRequestRatioConstraint).
"""

from collections.abc import Iterator, Mapping

from podpath.api import quantity
from podpath.api.quantity import Quantity
from protos.k8s import resource_pb2
from protos.k8s.core_v1_pb2 import LimitRangeItem

Amounts = dict[str, Quantity]


def amounts(given: Mapping[str, resource_pb2.Quantity]) -> Amounts:
    """Parsed, by resource name in alphabetical order."""
    return {name: quantity.parse(given[name].string) for name in sorted(given)}


def violations(item: LimitRangeItem, requests: Amounts, limits: Amounts) -> Iterator[str]:
    """What the item forbids about these amounts, in upstream's words."""
    for name, bound in amounts(item.min).items():
        yield from _below(item.type, name, bound, requests, limits)
    for name, bound in amounts(item.max).items():
        yield from _above(item.type, name, bound, requests, limits, "limit")
    for name, bound in amounts(item.maxLimitRequestRatio).items():
        yield from _ratio(item.type, name, bound, requests, limits)


def request_violations(item: LimitRangeItem, requests: Amounts) -> Iterator[str]:
    """The same where there are requests only, as in claims: `max` bounds these."""
    for name, bound in amounts(item.min).items():
        yield from _below(item.type, name, bound, requests, {})
    for name, bound in amounts(item.max).items():
        yield from _above(item.type, name, bound, {}, requests, "request")


def _below(
    kind: str, name: str, bound: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    head = f"minimum {name} usage per {kind} is {bound}"
    request, limit = requests.get(name), limits.get(name)
    if request is None:
        yield f"{head}.  No request is specified"
    elif quantity.compare(request, bound) < 0:
        yield f"{head}, but request is {request}"
    elif limit is not None and quantity.compare(limit, bound) < 0:
        yield f"{head}, but limit is {limit}"


def _above(
    kind: str, name: str, bound: Quantity, requests: Amounts, limits: Amounts, limit_word: str
) -> Iterator[str]:
    head = f"maximum {name} usage per {kind} is {bound}"
    request, limit = requests.get(name), limits.get(name)
    if limit is None:
        yield f"{head}.  No {limit_word} is specified"
    elif quantity.compare(limit, bound) > 0:
        yield f"{head}, but {limit_word} is {limit}"
    elif request is not None and quantity.compare(request, bound) > 0:
        yield f"{head}, but request is {request}"


def _ratio(
    kind: str, name: str, bound: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    head = f"{name} max limit to request ratio per {kind} is {bound}, but"
    request, limit = requests.get(name), limits.get(name)
    if request is None or not request.sign:
        yield f"{head} no request is specified or request is 0"
    elif limit is None or not limit.sign:
        yield f"{head} no limit is specified or limit is 0"
    else:
        ratio = _number(limit) / _number(request)
        if ratio > _number(bound):
            yield f"{head} provided ratio is {ratio:f}"


def _number(amount: Quantity) -> float:
    return amount.unscaled * 10.0**amount.scale
