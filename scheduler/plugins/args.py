"""The arguments of plugins in configuration files, as their constructors take them.

They were checked before (`args_validation.py`); what they leave out gets its default here.

Source: pkg/scheduler/apis/config/v1/defaults.go.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from podpath.api import json_codec
from protos.k8s.core_v1_pb2 import NodeAffinity, TopologySpreadConstraint
from scheduler.plugins.resource_scores import (
    DEFAULT_RESOURCES,
    ResourceSpec,
    Scorer,
    least_allocated,
    most_allocated,
    requested_to_capacity_ratio,
)
from scheduler.plugins.spread_constraints import SYSTEM_DEFAULTS

Args = Mapping[str, Any]


class ArgsError(ValueError):
    """Arguments that a plugin cannot be built with."""


def _message(tree: Any, kind: type[Message], where: str) -> Any:
    try:
        return json_codec.from_json(kind, tree).message
    except ValueError as error:
        raise ArgsError(f"{where}: {error}") from error


def node_affinity(args: Args) -> dict[str, Any]:
    added = args.get("addedAffinity")
    return {"added": _message(added, NodeAffinity, "addedAffinity") if added else None}


def _resources(listed: Sequence[Args] | None) -> tuple[ResourceSpec, ...]:
    if not listed:
        return DEFAULT_RESOURCES
    return tuple(ResourceSpec(r.get("name", ""), r.get("weight") or 1) for r in listed)


def balanced_allocation(args: Args) -> dict[str, Any]:
    return {"resources": _resources(args.get("resources"))}


def fit(args: Args) -> dict[str, Any]:
    strategy = args.get("scoringStrategy") or {}
    return {
        "scorer": _scorer(strategy),
        "resources": _resources(strategy.get("resources")),
        "ignored": frozenset(args.get("ignoredResources") or ()),
        "ignored_groups": frozenset(args.get("ignoredResourceGroups") or ()),
    }


def _scorer(strategy: Args) -> Scorer:
    kind = strategy.get("type", "LeastAllocated")
    if kind == "MostAllocated":
        return most_allocated
    if kind != "RequestedToCapacityRatio":
        return least_allocated
    ratio = strategy.get("requestedToCapacityRatio")
    if not ratio:
        raise ArgsError("no shape: scoringStrategy.requestedToCapacityRatio is missing")
    points = [(p.get("utilization", 0), p.get("score", 0)) for p in ratio["shape"]]
    return requested_to_capacity_ratio(points)


def pod_topology_spread(args: Args) -> dict[str, Any]:
    if args.get("defaultingType", "System") == "System":
        return {"defaults": SYSTEM_DEFAULTS, "system_defaulted": True}
    return {
        "defaults": tuple(
            _message(constraint, TopologySpreadConstraint, f"defaultConstraints[{i}]")
            for i, constraint in enumerate(args.get("defaultConstraints") or ())
        ),
        "system_defaulted": False,
    }


def inter_pod_affinity(args: Args) -> dict[str, Any]:
    return {
        "hard_pod_affinity_weight": args.get("hardPodAffinityWeight", 1),
        "ignore_preferred_terms_of_existing_pods": args.get(
            "ignorePreferredTermsOfExistingPods", False
        ),
    }


def default_preemption(args: Args) -> dict[str, Any]:
    return {
        "min_candidate_nodes_percentage": args.get("minCandidateNodesPercentage", 10),
        "min_candidate_nodes_absolute": args.get("minCandidateNodesAbsolute", 100),
    }


def volume_binding(args: Args) -> dict[str, Any]:
    return {"bind_timeout_s": float(args.get("bindTimeoutSeconds", 600))}
