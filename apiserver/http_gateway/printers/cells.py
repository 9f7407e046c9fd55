"""What the cells of all kinds are made of: ages, lists, labels.

Source: k8s.io/apimachinery pkg/util/duration, pkg/labels;
k8s.io/kubernetes pkg/printers/internalversion/printers.go.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365 * _DAY

Cells = list[Any]


def human_duration(seconds: float) -> str:
    """About two significant parts: `2m5s`, `7h59m`, `3y364d`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{max(whole, 0)}s"
    for unit, parts_until, bare_until, letters in (
        (_MINUTE, 10 * _MINUTE, 3 * _HOUR, "ms"),
        (_HOUR, 8 * _HOUR, 2 * _DAY, "hm"),
        (_DAY, 8 * _DAY, 2 * _YEAR, "dh"),
    ):
        if whole < bare_until:
            smaller = {_MINUTE: 1, _HOUR: _MINUTE, _DAY: _HOUR}[unit]
            rest = whole % unit // smaller if whole < parts_until else 0
            tail = f"{rest}{letters[1]}" if rest else ""
            return f"{whole // unit}{letters[0]}{tail}"
    days = whole // _DAY % 365 if whole < 8 * _YEAR else 0
    return f"{whole // _YEAR}y" + (f"{days}d" if days else "")


def age(metadata: Any, now: datetime) -> str:
    return since(metadata.creationTimestamp, now)


def since(time: Any, now: datetime) -> str:
    """Of a Time or MicroTime message; `<unknown>` when it is zero."""
    if not time.seconds:
        return UNKNOWN
    return human_duration(now.timestamp() - time.seconds - time.nanos / 1e9)


def labels(pairs: Mapping[str, str]) -> str:
    """`a=1,b=2`"""
    return ",".join(f"{key}={pairs[key]}" for key in sorted(pairs)) or NONE


def label_selector(selector: Any, *, empty: str = NONE) -> str:
    """A LabelSelector in the form that `-l` takes, sorted by key."""
    requirements = [(key, f"{key}={value}") for key, value in selector.matchLabels.items()]
    requirements += ((e.key, _expression(e)) for e in selector.matchExpressions)
    return ",".join(text for _, text in sorted(requirements)) or empty


def _expression(expression: Any) -> str:
    values = ",".join(sorted(expression.values))
    forms: dict[str, str] = {
        "In": f"{expression.key} in ({values})",
        "NotIn": f"{expression.key} notin ({values})",
        "Exists": expression.key,
        "DoesNotExist": f"!{expression.key}",
    }
    return forms.get(expression.operator, "<error>")


def container_cells(containers: Iterable[Any]) -> Cells:
    """Names and images."""
    listed = list(containers)
    return [",".join(c.name for c in listed), ",".join(c.image for c in listed)]


def joined(values: Iterable[str], maximum: int, total: int, separator: str = ",") -> str:
    """The first `maximum` values; of more it only says how many."""
    listed = list(values)[:maximum]
    text = separator.join(listed)
    return f"{text} + {total - maximum} more..." if total > maximum else text


def optional(message: Any, field: str, otherwise: Any = UNSET) -> Any:
    """A pointer field's value, or what stands for nil."""
    return getattr(message, field) if message.HasField(field) else otherwise


def go_bool(value: bool) -> str:
    return "True" if value else "False"


def int_or_string(value: Any) -> str:
    return str(value.strVal if value.type == 1 else value.intVal)


def access_modes(modes: Iterable[str]) -> str:
    """In a fixed order, each once: `RWO,RWX`."""
    present = set(modes)
    short = {
        "ReadWriteOnce": "RWO",
        "ReadOnlyMany": "ROX",
        "ReadWriteMany": "RWX",
        "ReadWriteOncePod": "RWOP",
    }
    return ",".join(text for mode, text in short.items() if mode in present)
