"""The arguments of plugins in configuration files, as their constructors take them.

Every function raises ArgsError for what upstream would refuse.

Source: pkg/scheduler/apis/config/v1/defaults.go, apis/config/validation/validation_pluginargs.go.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from google.protobuf.message import Message

from podpath.api import json_codec
from protos.k8s.core_v1_pb2 import NodeAffinity, TopologySpreadConstraint
from scheduler.plugins.resource_scores import (
    DEFAULT_RESOURCES,
    MAX_CUSTOM_SCORE,
    ResourceSpec,
    Scorer,
    least_allocated,
    most_allocated,
    requested_to_capacity_ratio,
)
from scheduler.plugins.spread_constraints import SYSTEM_DEFAULTS

Args = Mapping[str, Any]
_META = {"apiVersion", "kind"}
_MAX_WEIGHT = 100


class ArgsError(ValueError):
    """Arguments that a plugin cannot be built with; the message begins with the field."""


def _check_fields(args: Args, *known: str) -> None:
    unknown = sorted(set(args) - set(known) - _META)
    if unknown:
        raise ArgsError(f"unknown field {', '.join(map(repr, unknown))}")


def _whole(args: Args, key: str, default: int, lowest: int, highest: int | None = None) -> int:
    value = args.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgsError(f"{key}: Invalid value: {value!r}: must be an integer")
    if value < lowest or (highest is not None and value > highest):
        limits = f"at least {lowest}" if highest is None else f"in the range [{lowest}-{highest}]"
        raise ArgsError(f"{key}: Invalid value: {value}: not {limits}")
    return value


def _message(tree: Any, kind: type[Message], where: str) -> Any:
    try:
        return json_codec.from_json(kind, tree).message
    except ValueError as error:
        raise ArgsError(f"{where}: {error}") from error


def node_affinity(args: Args) -> dict[str, Any]:
    _check_fields(args, "addedAffinity")
    added = args.get("addedAffinity")
    return {"added": _message(added, NodeAffinity, "addedAffinity") if added else None}


def _resources(listed: Sequence[Args] | None, where: str) -> tuple[ResourceSpec, ...]:
    if not listed:
        return DEFAULT_RESOURCES
    found: list[ResourceSpec] = []
    for i, item in enumerate(listed):
        weight = _whole(item, "weight", 1, 1, _MAX_WEIGHT)
        name = item.get("name", "")
        if not name:
            raise ArgsError(f"{where}[{i}].name: Required value")
        if any(name == resource.name for resource in found):
            raise ArgsError(f"{where}[{i}].name: Duplicate value: {name!r}")
        found.append(ResourceSpec(name, weight))
    return tuple(found)


def balanced_allocation(args: Args) -> dict[str, Any]:
    _check_fields(args, "resources")
    resources = _resources(args.get("resources"), "resources")
    if any(resource.weight != 1 for resource in resources):
        raise ArgsError("resources[0].weight: Invalid value: not in valid range [1-1]")
    return {"resources": resources}


def fit(args: Args) -> dict[str, Any]:
    _check_fields(args, "ignoredResources", "ignoredResourceGroups", "scoringStrategy")
    strategy = args.get("scoringStrategy") or {}
    _check_fields(strategy, "type", "resources", "requestedToCapacityRatio")
    return {
        "scorer": _scorer(strategy),
        "resources": _resources(strategy.get("resources"), "scoringStrategy.resources"),
        "ignored": frozenset(args.get("ignoredResources") or ()),
        "ignored_groups": frozenset(args.get("ignoredResourceGroups") or ()),
    }


def _scorer(strategy: Args) -> Scorer:
    kind = strategy.get("type", "LeastAllocated")
    if kind == "LeastAllocated":
        return least_allocated
    if kind == "MostAllocated":
        return most_allocated
    if kind == "RequestedToCapacityRatio":
        ratio = strategy.get("requestedToCapacityRatio") or {}
        return requested_to_capacity_ratio(_shape(ratio.get("shape") or ()))
    raise ArgsError(f"scoringStrategy.type: Unsupported value: {kind!r}")


def _shape(points: Sequence[Args]) -> list[tuple[int, int]]:
    where = "scoringStrategy.requestedToCapacityRatio.shape"
    if not points:
        raise ArgsError(f"{where}: Required value: at least one point must be specified")
    found = [
        (
            _whole(point, "utilization", 0, 0, 100),
            _whole(point, "score", 0, 0, MAX_CUSTOM_SCORE),
        )
        for point in points
    ]
    for i, ((before, _), (after, _)) in enumerate(pairwise(found)):
        if after <= before:
            raise ArgsError(
                f"{where}[{i + 1}].utilization: Invalid value: {after}: "
                "utilization values must be sorted in increasing order"
            )
    return found


def pod_topology_spread(args: Args) -> dict[str, Any]:
    _check_fields(args, "defaultConstraints", "defaultingType")
    kind = args.get("defaultingType", "System")
    listed = args.get("defaultConstraints") or ()
    if kind == "System":
        if listed:
            raise ArgsError(
                "defaultConstraints: Invalid value: when .defaultingType is System, must be empty"
            )
        return {"defaults": SYSTEM_DEFAULTS, "system_defaulted": True}
    if kind != "List":
        raise ArgsError(f'defaultingType: Unsupported value: "{kind}"')
    if any("labelSelector" in constraint for constraint in listed):
        raise ArgsError(
            "defaultConstraints[0].labelSelector: Forbidden: constraint must not define a selector,"
            " as they deduced for each pod"
        )
    return {
        "defaults": tuple(
            _message(constraint, TopologySpreadConstraint, f"defaultConstraints[{i}]")
            for i, constraint in enumerate(listed)
        ),
        "system_defaulted": False,
    }


def inter_pod_affinity(args: Args) -> dict[str, Any]:
    _check_fields(args, "hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods")
    return {
        "hard_pod_affinity_weight": _whole(args, "hardPodAffinityWeight", 1, 0, 100),
        "ignore_preferred_terms_of_existing_pods": bool(
            args.get("ignorePreferredTermsOfExistingPods", False)
        ),
    }


def default_preemption(args: Args) -> dict[str, Any]:
    _check_fields(args, "minCandidateNodesPercentage", "minCandidateNodesAbsolute")
    percentage = _whole(args, "minCandidateNodesPercentage", 10, 0, 100)
    absolute = _whole(args, "minCandidateNodesAbsolute", 100, 0)
    if not percentage and not absolute:
        raise ArgsError(
            "minCandidateNodesPercentage: both minCandidateNodesPercentage and "
            "minCandidateNodesAbsolute cannot be zero"
        )
    return {
        "min_candidate_nodes_percentage": percentage,
        "min_candidate_nodes_absolute": absolute,
    }


def volume_binding(args: Args) -> dict[str, Any]:
    _check_fields(args, "bindTimeoutSeconds", "shape")
    if args.get("shape"):
        raise ArgsError("shape: Invalid value: scoring volumes by capacity is not supported")
    return {"bind_timeout_s": float(_whole(args, "bindTimeoutSeconds", 600, 0))}
