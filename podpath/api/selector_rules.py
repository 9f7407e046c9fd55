"""What is wrong with a label selector that an object holds, in upstream's words.

Source: k8s.io/apimachinery pkg/apis/meta/v1/validation/validation.go (ValidateLabelSelector).
"""

from collections.abc import Iterable

from podpath.api import names
from podpath.api.errors import (
    FieldError,
    GoValue,
    forbidden_field,
    go_labels,
    invalid,
    required,
)
from podpath.api.go_text import quote
from protos.k8s.meta_v1_pb2 import LabelSelector, LabelSelectorRequirement


def validate_message(
    selector: LabelSelector, path: str, allow_invalid_values: bool = False
) -> Iterable[FieldError]:
    """What upstream's ValidateLabelSelector finds wrong."""
    for key, value in sorted(selector.matchLabels.items()):
        for problem in names.label_key_problems(key):
            yield invalid(f"{path}.matchLabels", key, problem)
        for problem in names.label_value_problems(value):
            yield invalid(f"{path}.matchLabels", value, problem)
    for index, expression in enumerate(selector.matchExpressions):
        here = f"{path}.matchExpressions[{index}]"
        yield from _validate_operator(expression, here)
        for problem in names.label_key_problems(expression.key):
            yield invalid(f"{here}.key", expression.key, problem)
        if not allow_invalid_values:
            for number, value in enumerate(expression.values):
                for problem in names.label_value_problems(value):
                    yield invalid(f"{here}.values[{number}]", value, problem)


def _validate_operator(expression: LabelSelectorRequirement, path: str) -> Iterable[FieldError]:
    if expression.operator in {"In", "NotIn"}:
        if not expression.values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            yield required(f"{path}.values", detail)
    elif expression.operator in {"Exists", "DoesNotExist"}:
        if expression.values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield forbidden_field(f"{path}.values", detail)
    else:
        yield invalid(f"{path}.operator", expression.operator, "not a valid selector operator")


def go_selector(selector: LabelSelector) -> GoValue:
    """A label selector as Go prints it."""
    expressions = ", ".join(map(_go_requirement, selector.matchExpressions))
    listed = f"{{{expressions}}}" if selector.matchExpressions else "(nil)"
    return GoValue(
        f"v1.LabelSelector{{MatchLabels:{go_labels(selector.matchLabels)}, "
        f"MatchExpressions:[]v1.LabelSelectorRequirement{listed}}}"
    )


def _go_requirement(requirement: LabelSelectorRequirement) -> str:
    values = ", ".join(map(quote, requirement.values))
    listed = f"{{{values}}}" if requirement.values else "(nil)"
    return (
        f"v1.LabelSelectorRequirement{{Key:{quote(requirement.key)}, "
        f"Operator:{quote(requirement.operator)}, Values:[]string{listed}}}"
    )
