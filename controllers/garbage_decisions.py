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
    """Drop the references to these uids, or delete with this propagation policy, or nothing.

    `unblock`: before the deletion, let the object hold none of its owners back.
    """

    drop: tuple[str, ...] = ()
    delete: bool = False
    policy: str = ""
    unblock: bool = False


def decide(
    meta: ObjectMeta,
    owners: Sequence[tuple[OwnerReference, OwnerState]],
    *,
    has_dependents: bool,
    a_dependent_waits: bool = False,
) -> Decision:
    """As long as one owner stays, only the references to the others go; else the object goes.

    `a_dependent_waits`: one of them is itself being deleted after its own dependents. Owners may
    form a circle, and then each would wait for the next for ever.
    """
    if not owners:
        return Decision()
    states = {state for _, state in owners}
    if OwnerState.SOLID in states:
        return Decision(
            drop=tuple(ref.uid for ref, state in owners if state is not OwnerState.SOLID)
        )
    if OwnerState.WAITING in states and has_dependents:
        # The owner waits for all below it, so they go first as well.
        return Decision(delete=True, policy="Foreground", unblock=a_dependent_waits)
    if ORPHAN in meta.finalizers:
        return Decision(delete=True, policy="Orphan")
    if FOREGROUND in meta.finalizers:
        return Decision(delete=True, policy="Foreground")
    return Decision(delete=True, policy="Background")


def unblock_owners(meta: ObjectMeta) -> bool:
    """Holds no owner back from now on; False when that is so already."""
    blocking = [reference for reference in meta.ownerReferences if reference.blockOwnerDeletion]
    for reference in blocking:
        reference.blockOwnerDeletion = False
    return bool(blocking)


def waits_for_dependents(meta: ObjectMeta) -> bool:
    return meta.HasField("deletionTimestamp") and FOREGROUND in meta.finalizers


def blocks_owner(meta: ObjectMeta, owner_uid: str) -> bool:
    """True if the object's reference holds the owner of that uid back."""
    return any(
        reference.uid == owner_uid and reference.blockOwnerDeletion
        for reference in meta.ownerReferences
    )
