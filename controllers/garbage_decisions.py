"""What becomes of an object, given the state of its owners. Pure.

Source: k8s.io/kubernetes pkg/controller/garbagecollector/garbagecollector.go
(attemptToDeleteItem, classifyReferences).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from protos.k8s.meta_v1_pb2 import ObjectMeta, OwnerReference

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class OwnerState(Enum):
    """SOLID stays; ABSENT is gone; WAITING is being deleted once its dependents are gone."""

    SOLID = "solid"
    ABSENT = "absent"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Decision:
    """Drop the references to these uids, or delete with this propagation policy, or nothing."""

    drop: tuple[str, ...] = ()
    delete: bool = False
    policy: str = ""


def decide(
    meta: ObjectMeta,
    owners: Sequence[tuple[OwnerReference, OwnerState]],
    *,
    has_dependents: bool,
) -> Decision:
    """As long as one owner stays, only the references to the others go; else the object goes."""
    if not owners:
        return Decision()
    states = {state for _, state in owners}
    if OwnerState.SOLID in states:
        return Decision(
            drop=tuple(ref.uid for ref, state in owners if state is not OwnerState.SOLID)
        )
    if OwnerState.WAITING in states and has_dependents:
        # The owner waits for all below it, so they go first as well.
        return Decision(delete=True, policy="Foreground")
    if ORPHAN in meta.finalizers:
        return Decision(delete=True, policy="Orphan")
    if FOREGROUND in meta.finalizers:
        return Decision(delete=True, policy="Foreground")
    return Decision(delete=True, policy="Background")


def waits_for_dependents(meta: ObjectMeta) -> bool:
    return meta.HasField("deletionTimestamp") and FOREGROUND in meta.finalizers


def blocks_owner(meta: ObjectMeta, owner_uid: str) -> bool:
    """True if the object's reference holds the owner of that uid back."""
    return any(
        reference.uid == owner_uid and reference.blockOwnerDeletion
        for reference in meta.ownerReferences
    )
