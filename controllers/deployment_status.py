"""A Deployment's status and conditions, computed from its ReplicaSets. Pure.

Source: k8s.io/kubernetes pkg/controller/deployment (progress.go, sync.go calculateStatus),
util/deployment_util.go.
"""

from collections.abc import Sequence

from controllers.deployment_sizes import (
    available_replicas,
    max_unavailable,
    replicas_of,
    total_replicas,
)
from controllers.pods import time_at
from protos.k8s.apps_v1_pb2 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet

AVAILABLE = "Available"
PROGRESSING = "Progressing"
REPLICA_FAILURE = "ReplicaFailure"

NEW_RS_AVAILABLE = "NewReplicaSetAvailable"
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"
# A Deployment with this deadline has none.
NO_DEADLINE_S = 2**31 - 1


def has_deadline(deployment: Deployment) -> bool:
    spec = deployment.spec
    return (
        spec.HasField("progressDeadlineSeconds") and spec.progressDeadlineSeconds != NO_DEADLINE_S
    )


def condition_of(status: DeploymentStatus, kind: str) -> DeploymentCondition | None:
    return next((c for c in status.conditions if c.type == kind), None)


def set_condition(
    status: DeploymentStatus, kind: str, value: str, reason: str, message: str, now_s: float
) -> None:
    """Sets it unless status and reason are the same; a transition is a change of the status."""
    present = condition_of(status, kind)
    if present is not None and present.status == value and present.reason == reason:
        return
    condition = DeploymentCondition(
        type=kind,
        status=value,
        reason=reason,
        message=message,
        lastUpdateTime=time_at(now_s),
        lastTransitionTime=time_at(now_s),
    )
    if present is not None and present.status == value:
        condition.lastTransitionTime.CopyFrom(present.lastTransitionTime)
    remove_condition(status, kind)
    status.conditions.append(condition)


def remove_condition(status: DeploymentStatus, kind: str) -> None:
    others = [c for c in status.conditions if c.type != kind]
    del status.conditions[:]
    status.conditions.extend(others)


def counts(
    deployment: Deployment, sets: Sequence[ReplicaSet], new: ReplicaSet | None, now_s: float
) -> DeploymentStatus:
    """The numbers and the Available condition; other conditions are kept."""
    available = available_replicas(sets)
    status = DeploymentStatus()
    status.CopyFrom(deployment.status)
    status.observedGeneration = deployment.metadata.generation
    status.replicas = sum(rs.status.replicas for rs in sets)
    status.updatedReplicas = new.status.replicas if new is not None else 0
    status.readyReplicas = sum(rs.status.readyReplicas for rs in sets)
    status.availableReplicas = available
    status.unavailableReplicas = max(0, total_replicas(sets) - available)
    if available >= replicas_of(deployment) - max_unavailable(deployment):
        value, reason = "True", "MinimumReplicasAvailable"
        message = "Deployment has minimum availability."
    else:
        value, reason = "False", "MinimumReplicasUnavailable"
        message = "Deployment does not have minimum availability."
    set_condition(status, AVAILABLE, value, reason, message, now_s)
    return status


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """All Pods are of the new version and available, and the newest spec was looked at."""
    wanted = replicas_of(deployment)
    return (
        status.updatedReplicas == wanted
        and status.replicas == wanted
        and status.availableReplicas == wanted
        and status.observedGeneration >= deployment.metadata.generation
    )


def after_rollout_step(
    deployment: Deployment, sets: Sequence[ReplicaSet], new: ReplicaSet | None, now_s: float
) -> DeploymentStatus:
    """The whole status: counts, Progressing, ReplicaFailure."""
    status = counts(deployment, sets, new, now_s)
    present = condition_of(deployment.status, PROGRESSING)
    was_complete = (
        status.replicas == status.updatedReplicas
        and present is not None
        and present.reason == NEW_RS_AVAILABLE
    )
    if not has_deadline(deployment):
        remove_condition(status, PROGRESSING)
    elif not was_complete:
        _set_progress(deployment, status, new, now_s)
    _set_replica_failure(status, sets, new)
    return status


def _set_progress(
    deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, now_s: float
) -> None:
    what = (
        f'ReplicaSet "{new.metadata.name}"'
        if new is not None
        else f'Deployment "{deployment.metadata.name}"'
    )
    if is_complete(deployment, status):
        message = f"{what} has successfully progressed."
        set_condition(status, PROGRESSING, "True", NEW_RS_AVAILABLE, message, now_s)
    elif _is_progressing(deployment.status, status):
        present = condition_of(status, PROGRESSING)
        # Every step forward renews lastUpdateTime, from which the deadline counts.
        kept = None
        if present is not None and present.status == "True":
            kept = present.lastTransitionTime
        remove_condition(status, PROGRESSING)
        message = f"{what} is progressing."
        set_condition(status, PROGRESSING, "True", "ReplicaSetUpdated", message, now_s)
        if kept is not None:
            status.conditions[-1].lastTransitionTime.CopyFrom(kept)
    elif has_timed_out(deployment, status, now_s):
        message = f"{what} has timed out progressing."
        set_condition(status, PROGRESSING, "False", DEADLINE_EXCEEDED, message, now_s)


def _is_progressing(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    return (
        after.updatedReplicas > before.updatedReplicas
        or after.replicas - after.updatedReplicas < before.replicas - before.updatedReplicas
        or after.readyReplicas > before.readyReplicas
        or after.availableReplicas > before.availableReplicas
    )


def has_timed_out(deployment: Deployment, status: DeploymentStatus, now_s: float) -> bool:
    present = condition_of(status, PROGRESSING)
    if not has_deadline(deployment) or present is None or present.reason == NEW_RS_AVAILABLE:
        return False
    if present.reason == DEADLINE_EXCEEDED:
        return True
    return present.lastUpdateTime.seconds + deployment.spec.progressDeadlineSeconds < now_s


def deadline_in(deployment: Deployment, status: DeploymentStatus, now_s: float) -> float | None:
    """Seconds after which a stuck rollout has timed out; None when that needs no look."""
    present = condition_of(status, PROGRESSING)
    if not has_deadline(deployment) or present is None:
        return None
    if present.reason in (DEADLINE_EXCEEDED, NEW_RS_AVAILABLE, PAUSED):
        return None
    due = present.lastUpdateTime.seconds + deployment.spec.progressDeadlineSeconds
    return max(0.0, due - now_s) + 1.0


def _set_replica_failure(
    status: DeploymentStatus, sets: Sequence[ReplicaSet], new: ReplicaSet | None
) -> None:
    """The new ReplicaSet's failure, or else any other's."""
    ordered = [*([new] if new is not None else []), *sets]
    failure = next(
        (c for rs in ordered for c in rs.status.conditions if c.type == REPLICA_FAILURE), None
    )
    if failure is None:
        remove_condition(status, REPLICA_FAILURE)
        return
    present = condition_of(status, REPLICA_FAILURE)
    if present is not None and present.reason == failure.reason:
        return
    remove_condition(status, REPLICA_FAILURE)
    status.conditions.append(
        DeploymentCondition(
            type=REPLICA_FAILURE,
            status=failure.status,
            reason=failure.reason,
            message=failure.message,
            lastUpdateTime=failure.lastTransitionTime,
            lastTransitionTime=failure.lastTransitionTime,
        )
    )
