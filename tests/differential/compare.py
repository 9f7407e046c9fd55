"""Whether a recorded decision of the real scheduler and ours agree.

Lots are excluded: the chosen node has to be among our best, the totals of all nodes equal.
"""

import re
from typing import Any

_PREEMPTION = re.compile(r" preemption: .*$")

# The reason's text of 1.32 -> that of 1.33, which is the contract.
_REWORDED = {
    "node(s) had volume node affinity conflict": (
        "node(s) didn't match PersistentVolume's node affinity"
    )
}


def differences(real: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """What differs, in words; empty when they agree."""
    found: list[str] = []
    if real["node"]:
        if real["node"] not in ours["best"]:
            found.append(f"chose {real['node']}, our best are {ours['best']}: {ours['message']}")
        if real["totals"] != ours["totals"]:
            found.append(f"totals {_parts(real)} differ from {_parts(ours)}")
        return found
    # Kubernetes 1.33 tells nodes that could never fit apart, 1.32 does not: only preemption's own
    # sentence shows it.
    if _told(real["message"]) != _told(ours["message"]):
        found.append(f"said {real['message']!r}, we say {ours['message']!r} {ours['best']}")
    if bool(real["nominated"]) != bool(ours["evictions"]):
        found.append(f"nominated {real['nominated']!r}, we {sorted(ours['evictions'])}")
    elif real["nominated"]:
        expected = ours["evictions"].get(real["nominated"])
        if expected is None:
            found.append(f"nominated {real['nominated']}, our best are {sorted(ours['evictions'])}")
        elif expected != real["victims"]:
            found.append(f"evicted {real['victims']}, we would {expected}")
    return found


def _told(message: str) -> tuple[str, list[str]]:
    """The filters' part of a FitError: its beginning, and its reasons in 1.33's words."""
    text = _PREEMPTION.sub("", message)
    for old, new in _REWORDED.items():
        text = text.replace(old, new)
    head, _, reasons = text.partition(": ")
    return head, sorted(reasons.rstrip(".").split(", "))


def _parts(decision: dict[str, Any]) -> dict[str, Any]:
    return {n: {"total": t, **decision["parts"].get(n, {})} for n, t in decision["totals"].items()}
