"""How large each ReplicaSet of a Deployment should be. Pure.

Source: k8s.io/kubernetes pkg/controller/deployment (rolling.go, recreate.go, sync.go scale),
util/deployment_util.go (NewRSNewReplicas, ResolveFenceposts, GetReplicaSetProportion).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controllers.int_or_string import scaled
from protos.k8s.apps_v1_pb2 import Deployment, ReplicaSet

ROLLING_UPDATE = "RollingUpdate"
RECREATE = "Recreate"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MAX = "deployment.kubernetes.io/max-replicas"


@dataclass(frozen=True, slots=True)
class Resize:
    """The ReplicaSet is to have this many replicas; maybe it has."""

    replica_set: ReplicaSet
    replicas: int


def replicas_of(obj: Deployment | ReplicaSet) -> int:
    """`spec.replicas`, 1 when not set."""
    return obj.spec.replicas if obj.spec.HasField("replicas") else 1


def total_replicas(sets: Sequence[ReplicaSet]) -> int:
    return sum(map(replicas_of, sets))


def available_replicas(sets: Sequence[ReplicaSet]) -> int:
    return sum(rs.status.availableReplicas for rs in sets)


def active(sets: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Those that should have any replicas."""
    return [rs for rs in sets if replicas_of(rs) > 0]


def is_rolling(deployment: Deployment) -> bool:
    return deployment.spec.strategy.type == ROLLING_UPDATE


def fenceposts(deployment: Deployment) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in Pods: surge rounds up, unavailable down, never both zero."""
    rolling = deployment.spec.strategy.rollingUpdate
    replicas = replicas_of(deployment)
    surge = scaled(rolling.maxSurge, replicas, round_up=True)
    unavailable = scaled(rolling.maxUnavailable, replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        # Percentages may both round to nothing; then at least one Pod may be missing.
        unavailable = 1
    return surge, unavailable


def max_surge(deployment: Deployment) -> int:
    return fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Deployment) -> int:
    replicas = replicas_of(deployment)
    if not is_rolling(deployment) or replicas == 0:
        return 0
    return min(fenceposts(deployment)[1], replicas)


def size_of_new(deployment: Deployment, others: Sequence[ReplicaSet], present: int) -> int:
    """How large the new ReplicaSet may be now, which has `present` replicas beside `others`."""
    wanted = replicas_of(deployment)
    if not is_rolling(deployment):
        return wanted
    if present >= wanted:
        return wanted
    room = wanted + max_surge(deployment) - total_replicas(others) - present
    return present + max(0, min(room, wanted - present))


def shrink_old(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> list[Resize]:
    """Which old ReplicaSets give Pods up without falling below the minimum available.

    Unhealthy Pods go first: they cost no availability.
    """
    min_available = replicas_of(deployment) - max_unavailable(deployment)
    new_unavailable = replicas_of(new) - new.status.availableReplicas
    everything = [*old, new]
    room = total_replicas(everything) - min_available - new_unavailable
    if room <= 0:
        return []
    sizes = {rs.metadata.name: replicas_of(rs) for rs in old}
    by_age = sorted(old, key=_age)
    for rs in by_age:
        unhealthy = replicas_of(rs) - rs.status.availableReplicas
        taken = max(0, min(room, unhealthy))
        sizes[rs.metadata.name] -= taken
        room -= taken
    spare = available_replicas(everything) - min_available
    for rs in by_age:
        taken = max(0, min(spare, sizes[rs.metadata.name]))
        sizes[rs.metadata.name] -= taken
        spare -= taken
    return [
        Resize(rs, sizes[rs.metadata.name])
        for rs in by_age
        if sizes[rs.metadata.name] != replicas_of(rs)
    ]


def _age(rs: ReplicaSet) -> tuple[int, str]:
    return (rs.metadata.creationTimestamp.seconds, rs.metadata.name)


def is_scaling(deployment: Deployment, sets: Sequence[ReplicaSet]) -> bool:
    """True if the Deployment's size changed since its ReplicaSets were sized."""
    wanted = replicas_of(deployment)
    return any(
        (noted := _noted(rs, _DESIRED)) is not None and noted != wanted for rs in active(sets)
    )


def scale(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]
) -> list[Resize]:
    """Sizes after the Deployment's own size changed, also in the middle of a rollout.

    One ReplicaSet takes all; a rollout that is over drops the old ones; one that runs is scaled
    in proportion.
    """
    wanted = replicas_of(deployment)
    single = _active_or_latest(new, old)
    if single is not None:
        return [] if replicas_of(single) == wanted else [Resize(single, wanted)]
    if new is not None and _is_saturated(deployment, new):
        return [Resize(rs, 0) for rs in active(old)]
    if not is_rolling(deployment):
        return []
    return _scale_in_proportion(deployment, active([*old, *([new] if new is not None else [])]))


def _scale_in_proportion(deployment: Deployment, sets: Sequence[ReplicaSet]) -> list[Resize]:
    wanted = replicas_of(deployment)
    allowed = wanted + max_surge(deployment) if wanted > 0 else 0
    to_add = allowed - total_replicas(sets)
    # The largest first; of equals the newer one grows first and the older one shrinks first.
    ordered = sorted(sets, key=_age, reverse=to_add > 0)
    ordered.sort(key=replicas_of, reverse=True)
    added = 0
    sizes: list[int] = []
    for rs in ordered:
        share = _proportion(deployment, rs, to_add, added)
        sizes.append(replicas_of(rs) + share)
        added += share
    if ordered and to_add:
        sizes[0] = max(0, sizes[0] + to_add - added)
    return [Resize(rs, size) for rs, size in zip(ordered, sizes, strict=True)]


def _proportion(deployment: Deployment, rs: ReplicaSet, to_add: int, added: int) -> int:
    if to_add in (0, added) or not replicas_of(rs):
        return 0
    fraction = _fraction(deployment, rs)
    return min(fraction, to_add - added) if to_add > 0 else max(fraction, to_add - added)


def _fraction(deployment: Deployment, rs: ReplicaSet) -> int:
    """By how much the ReplicaSet would change if all changed at the same rate."""
    wanted, own = replicas_of(deployment), replicas_of(rs)
    if wanted == 0:
        return -own
    before = _noted(rs, _MAX) or deployment.status.replicas
    if not before:
        return 0
    # Halves are rounded away from zero, as Go's math.Round does.
    return math.floor(own * (wanted + max_surge(deployment)) / before + 0.5) - own


def _active_or_latest(new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The only one with replicas; when none has, the new or else the latest; None if several."""
    candidates = [*old, *([new] if new is not None else [])]
    busy = active(candidates)
    if len(busy) > 1 or not candidates:
        return None
    if busy:
        return busy[0]
    return new if new is not None else max(old, key=_age)


def _is_saturated(deployment: Deployment, rs: ReplicaSet) -> bool:
    wanted = replicas_of(deployment)
    return (
        replicas_of(rs) == wanted
        and _noted(rs, _DESIRED) == wanted
        and rs.status.availableReplicas == wanted
    )


def _noted(rs: ReplicaSet, name: str) -> int | None:
    annotations = rs.metadata.annotations
    text = annotations.get(name, "")
    return int(text) if text.isdecimal() else None
