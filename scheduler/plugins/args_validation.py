"""What is wrong with the arguments of a plugin in a configuration file. Pure.

The trees have the right types already (`scheduler/configuration_fields.py`); what they leave out
has its default.

Source: pkg/scheduler/apis/config/validation/validation_pluginargs.go.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from podpath.api import errors, names
from podpath.api.errors import FieldError
from scheduler.plugins.resource_scores import MAX_CUSTOM_SCORE

Args = Mapping[str, Any]

_STRATEGIES = {"LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"}
_ACTIONS = {"DoNotSchedule", "ScheduleAnyway"}


def validate(plugin: str, args: Args, path: str) -> list[FieldError]:
    """Nothing is known of the arguments of third parties' plugins: they check their own."""
    check = _CHECKS.get(plugin)
    return check(args, path) if check is not None else []


def _outside(path: str, value: int, lowest: int, highest: int) -> list[FieldError]:
    if lowest <= value <= highest:
        return []
    return [errors.invalid(path, value, f"not in valid range [{lowest}, {highest}]")]


def _label_name(path: str, name: str) -> list[FieldError]:
    return [errors.invalid(path, name, problem) for problem in names.label_key_problems(name)]


def _default_preemption(args: Args, path: str) -> list[FieldError]:
    percentage = args.get("minCandidateNodesPercentage", 10)
    absolute = args.get("minCandidateNodesAbsolute", 100)
    of_percentage = f"{path}.minCandidateNodesPercentage"
    of_absolute = f"{path}.minCandidateNodesAbsolute"
    found = _outside(of_percentage, percentage, 0, 100)
    if absolute < 0:
        found.append(errors.invalid(of_absolute, absolute, "not in valid range [0, inf)"))
    if not percentage and not absolute:
        both = "cannot be zero at the same time as"
        found += [
            errors.invalid(of_percentage, 0, f"{both} minCandidateNodesAbsolute"),
            errors.invalid(of_absolute, 0, f"{both} minCandidateNodesPercentage"),
        ]
    return found


def _inter_pod_affinity(args: Args, path: str) -> list[FieldError]:
    weight = args.get("hardPodAffinityWeight", 1)
    return _outside(f"{path}.hardPodAffinityWeight", weight, 0, 100)


def _balanced_allocation(args: Args, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, resource in enumerate(args.get("resources") or ()):
        at, name = f"{path}.resources[{i}]", resource.get("name", "")
        if name in seen:
            found.append(errors.duplicate(f"{at}.name", name))
        seen.add(name)
        weight = resource.get("weight") or 1
        if weight != 1:
            found.append(errors.invalid(f"{at}.weight", weight, "must be 1"))
    return found


def _fit(args: Args, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, name in enumerate(args.get("ignoredResources") or ()):
        found += _label_name(f"{path}.ignoredResources[{i}]", name)
    for i, group in enumerate(args.get("ignoredResourceGroups") or ()):
        at = f"{path}.ignoredResourceGroups[{i}]"
        if "/" in group:
            found.append(errors.invalid(at, group, "resource group name can't contain '/'"))
        found += _label_name(at, group)
    strategy = args.get("scoringStrategy")
    return found + _strategy(strategy, f"{path}.scoringStrategy") if strategy else found


def _strategy(strategy: Args, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    kind = strategy.get("type", "")
    if kind not in _STRATEGIES:
        found.append(errors.not_supported(f"{path}.type", kind, _STRATEGIES))
    for i, resource in enumerate(strategy.get("resources") or ()):
        weight = resource.get("weight") or 1
        if not 0 < weight <= 100:
            why = f"resource weight of {resource.get('name', '')} not in valid range (0, 100]"
            found.append(errors.invalid(f"{path}.resources[{i}].weight", weight, why))
    ratio = strategy.get("requestedToCapacityRatio")
    return found + _shape(ratio.get("shape") or (), f"{path}.shape") if ratio else found


def _shape(shape: Sequence[Args], path: str) -> list[FieldError]:
    if not shape:
        return [errors.required(path, "at least one point must be specified")]
    found: list[FieldError] = []
    for i in range(1, len(shape)):
        after = shape[i].get("utilization", 0)
        if shape[i - 1].get("utilization", 0) >= after:
            why = "utilization values must be sorted in increasing order"
            found.append(errors.invalid(f"{path}[{i}].utilization", after, why))
            break
    for i, point in enumerate(shape):
        found += _outside(f"{path}[{i}].utilization", point.get("utilization", 0), 0, 100)
        found += _outside(f"{path}[{i}].score", point.get("score", 0), 0, MAX_CUSTOM_SCORE)
    return found


def _pod_topology_spread(args: Args, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    kind = args.get("defaultingType") or "System"
    constraints = args.get("defaultConstraints") or ()
    of_type = f"{path}.defaultingType"
    if kind not in ("System", "List"):
        found.append(errors.not_supported(of_type, kind, ("System", "List")))
    elif kind == "System" and constraints:
        found.append(errors.invalid(of_type, kind, "when .defaultConstraints are not empty"))
    seen: set[tuple[str, str]] = set()
    for i, constraint in enumerate(constraints):
        at = f"{path}.defaultConstraints[{i}]"
        found += _constraint(constraint, at)
        pair = (constraint.get("topologyKey", ""), constraint.get("whenUnsatisfiable", ""))
        if pair in seen:
            found.append(errors.duplicate(at, f"{{{pair[0]}, {pair[1]}}}"))
        seen.add(pair)
    return found


def _constraint(constraint: Args, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    skew = constraint.get("maxSkew", 0)
    if skew <= 0:
        found.append(errors.invalid(f"{path}.maxSkew", skew, "not in valid range (0, inf)"))
    key = constraint.get("topologyKey", "")
    if key:
        found += _label_name(f"{path}.topologyKey", key)
    else:
        found.append(errors.required(f"{path}.topologyKey", "can not be empty"))
    action = constraint.get("whenUnsatisfiable", "")
    if not action:
        found.append(errors.required(f"{path}.whenUnsatisfiable", "can not be empty"))
    elif action not in _ACTIONS:
        found.append(errors.not_supported(f"{path}.whenUnsatisfiable", action, _ACTIONS))
    if "labelSelector" in constraint:
        why = "constraint must not define a selector, as they deduced for each pod"
        found.append(errors.forbidden_field(f"{path}.labelSelector", why))
    return found


def _volume_binding(args: Args, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    timeout = args.get("bindTimeoutSeconds", 600)
    if timeout < 0:
        why = "invalid BindTimeoutSeconds, should not be a negative value"
        found.append(errors.invalid(f"{path}.bindTimeoutSeconds", timeout, why))
    if args.get("shape") is not None:
        why = (
            "unexpected field `shape`, remove it or turn on the feature gate VolumeCapacityPriority"
        )
        found.append(errors.invalid(f"{path}.shape", args["shape"], why))
    return found


_CHECKS: Mapping[str, Callable[[Args, str], list[FieldError]]] = {
    "DefaultPreemption": _default_preemption,
    "InterPodAffinity": _inter_pod_affinity,
    "NodeResourcesBalancedAllocation": _balanced_allocation,
    "NodeResourcesFit": _fit,
    "PodTopologySpread": _pod_topology_spread,
    "VolumeBinding": _volume_binding,
}
