"""Counts that are given as numbers or percentages.

Source: k8s.io/apimachinery pkg/util/intstr/intstr.go (GetScaledValueFromIntOrPercent).
"""

from protos.k8s.intstr_pb2 import IntOrString

_STRING = 1


def is_percentage(value: IntOrString) -> bool:
    return value.type == _STRING


def scaled(value: IntOrString, total: int, *, round_up: bool) -> int:
    """The number itself, or the percentage of `total`."""
    if not is_percentage(value):
        return value.intVal
    text = value.strVal.removesuffix("%")
    # Validation admits percentages only; a text that slipped through counts as nothing.
    percent = int(text) if text.isdecimal() else 0
    return -(-percent * total // 100) if round_up else percent * total // 100
