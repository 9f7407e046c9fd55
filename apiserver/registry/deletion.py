"""What a DELETE does to an object: remove it, mark it, or nothing new. Pure.

    present  --DELETE, grace or finalizers--> deleting (has a deletionTimestamp)
    present  --DELETE, neither--------------> gone
    deleting --DELETE, shorter grace--------> deleting, sooner
    deleting --last obstacle goes-----------> gone

Source: k8s.io/apiserver pkg/registry/rest/delete.go (BeforeDelete),
pkg/registry/generic/registry/store.go (deletionFinalizersForGarbageCollection).
"""

from datetime import datetime
from enum import Enum
from typing import Any

from apiserver.registry.strategy import Strategy
from podpath.api import errors
from podpath.api.scheme import Resource
from protos.k8s.meta_v1_pb2 import DeleteOptions, ObjectMeta

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_POLICIES = ("Background", "Foreground", "Orphan")


class Fate(Enum):
    """What becomes of the object."""

    REMOVE = "remove it"
    MARK = "store it with its deletion marked"
    PENDING = "its deletion is under way and stays as it is"


def validate_options(options: DeleteOptions) -> None:
    """Raises: ApiError (Invalid)."""
    found = []
    if options.HasField("propagationPolicy"):
        if options.HasField("orphanDependents"):
            detail = "orphanDependents and deletionPropagation cannot be both set"
            found.append(errors.invalid("propagationPolicy", options.propagationPolicy, detail))
        elif options.propagationPolicy not in _POLICIES:
            found.append(
                errors.not_supported("propagationPolicy", options.propagationPolicy, _POLICIES)
            )
    if found:
        raise errors.invalid_object("meta.k8s.io", "DeleteOptions", "", found)


def check_preconditions(resource: Resource[Any], obj: Any, options: DeleteOptions) -> None:
    """Raises: ApiError (Conflict) when the object is not the one that is meant."""
    meta, wanted = obj.metadata, options.preconditions
    for what, expected, actual, why in (
        ("UID", wanted.uid, meta.uid, "deleted and then recreated"),
        ("ResourceVersion", wanted.resourceVersion, meta.resourceVersion, "modified"),
    ):
        if expected not in ("", actual):
            cause = (
                f"the {what} in the precondition ({expected}) does not match the {what} in record "
                f"({actual}). The object might have been {why}"
            )
            raise errors.conflict(resource.group, resource.kind, meta.name, cause)


def decide(strategy: Strategy, obj: Any, options: DeleteOptions, now: datetime) -> tuple[Fate, Any]:
    """What happens now, and the object as it is then. `obj` itself is not changed."""
    marked = type(obj)()
    marked.CopyFrom(obj)
    grace = _grace_to_set(strategy, obj, options)
    if grace is not None and grace < 0:
        return Fate.PENDING, marked
    finalizers = _finalizers(obj.metadata, options)
    marked.metadata.ClearField("finalizers")
    marked.metadata.finalizers.extend(finalizers)
    held = bool(finalizers) or not strategy.may_go(obj)
    if not held and not grace:
        return Fate.REMOVE, marked
    _mark(marked.metadata, grace, now)
    strategy.mark_deleting(marked)
    if marked == obj:
        return Fate.PENDING, marked
    return Fate.MARK, marked


def finished(strategy: Strategy, obj: Any) -> bool:
    """True if nothing is left to wait for: an update that leads here removes the object."""
    meta = obj.metadata
    return (
        meta.HasField("deletionTimestamp")
        and not meta.finalizers
        and meta.deletionGracePeriodSeconds == 0
        and strategy.may_go(obj)
    )


_ALREADY = -1


def _grace_to_set(strategy: Strategy, obj: Any, options: DeleteOptions) -> int | None:
    """Seconds of grace to give; None for a kind or state without; _ALREADY when no sooner."""
    meta = obj.metadata
    period = strategy.grace_period_s(obj, options)
    if period is None or not meta.HasField("deletionTimestamp"):
        return period
    if not meta.HasField("deletionGracePeriodSeconds"):
        return None
    # While it ends, a client may only make it end sooner, and only by saying so.
    if not options.HasField("gracePeriodSeconds"):
        return _ALREADY
    period = max(options.gracePeriodSeconds, 0)
    return _ALREADY if period >= meta.deletionGracePeriodSeconds > 0 else period


def _mark(meta: ObjectMeta, grace: int | None, now: datetime) -> None:
    seconds = grace or 0
    if not meta.HasField("deletionTimestamp"):
        meta.deletionTimestamp.seconds = int(now.timestamp()) + seconds
        if meta.generation > 0:
            meta.generation += 1
    elif grace is not None and meta.deletionGracePeriodSeconds > seconds:
        meta.deletionTimestamp.seconds -= meta.deletionGracePeriodSeconds - seconds
    else:
        return
    meta.deletionGracePeriodSeconds = seconds


def _finalizers(meta: ObjectMeta, options: DeleteOptions) -> list[str]:
    """The object's finalizers with those that the propagation policy asks for."""
    orphan = _wanted(meta, options, ORPHAN, "Orphan")
    foreground = _wanted(meta, options, FOREGROUND, "Foreground")
    kept = [f for f in meta.finalizers if f not in (ORPHAN, FOREGROUND)]
    if orphan == (ORPHAN in meta.finalizers) and foreground == (FOREGROUND in meta.finalizers):
        return list(meta.finalizers)
    return kept + [ORPHAN] * orphan + [FOREGROUND] * foreground


def _wanted(meta: ObjectMeta, options: DeleteOptions, finalizer: str, policy: str) -> bool:
    if options.HasField("orphanDependents"):
        return options.orphanDependents and finalizer == ORPHAN
    if options.HasField("propagationPolicy"):
        return options.propagationPolicy == policy
    return finalizer in meta.finalizers
