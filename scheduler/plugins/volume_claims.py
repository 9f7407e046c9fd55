"""A Pod's PersistentVolumeClaims, and the questions that volume plugins ask about them.

Source: k8s.io/component-helpers storage/{volume,ephemeral}, pkg/apis/core/v1/helper.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from podpath.api import scheme
from podpath.api.node_selectors import matches_term
from protos.k8s.core_v1_pb2 import (
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    TopologySelectorTerm,
)
from protos.k8s.storage_v1_pb2 import StorageClass
from scheduler.listers import Listers

WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


@dataclass(frozen=True, slots=True)
class ClaimUse:
    """A claim that a volume of the Pod names, or that is made for it (`ephemeral`)."""

    namespace: str
    name: str
    ephemeral: bool = False


def claim_uses(pod: Pod) -> list[ClaimUse]:
    found: list[ClaimUse] = []
    for volume in pod.spec.volumes:
        source = volume.volumeSource
        if source.HasField("persistentVolumeClaim"):
            name = source.persistentVolumeClaim.claimName
            found.append(ClaimUse(pod.metadata.namespace, name))
        elif source.HasField("ephemeral"):
            name = f"{pod.metadata.name}-{volume.name}"
            found.append(ClaimUse(pod.metadata.namespace, name, ephemeral=True))
    return found


def uses_claim(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    key = (claim.metadata.namespace, claim.metadata.name)
    return any((use.namespace, use.name) == key for use in claim_uses(pod))


def is_owned_by(claim: PersistentVolumeClaim, pod: Pod) -> bool:
    """Whether an ephemeral volume's claim was made for this very Pod."""
    return any(o.controller and o.uid == pod.metadata.uid for o in claim.metadata.ownerReferences)


def not_owned(claim: PersistentVolumeClaim, pod: Pod) -> str:
    meta = claim.metadata
    return (
        f"PVC {meta.namespace}/{meta.name} was not created for pod "
        f"{pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)"
    )


def class_of(claim: PersistentVolumeClaim) -> str:
    """The storage class's name; empty without one."""
    if _BETA_CLASS in claim.metadata.annotations:
        return claim.metadata.annotations[_BETA_CLASS]
    return claim.spec.storageClassName


def class_of_volume(volume: PersistentVolume) -> str:
    if _BETA_CLASS in volume.metadata.annotations:
        return volume.metadata.annotations[_BETA_CLASS]
    return volume.spec.storageClassName


def storage_class(claim: PersistentVolumeClaim, listers: Listers) -> StorageClass | None:
    name = class_of(claim)
    return listers.get(scheme.STORAGECLASSES, "", name) if name else None


def is_fully_bound(claim: PersistentVolumeClaim) -> bool:
    return bool(claim.spec.volumeName) and BIND_COMPLETED in claim.metadata.annotations


def volume_fits_node(volume: PersistentVolume, node: Node) -> bool:
    """The volume's node affinity holds on the node."""
    if not volume.spec.HasField("nodeAffinity"):
        return True
    affinity = volume.spec.nodeAffinity
    if not affinity.HasField("required"):
        return True
    return any(matches_term(term, node) for term in affinity.required.nodeSelectorTerms)


def matches_topologies(terms: Iterable[TopologySelectorTerm], labels: Mapping[str, str]) -> bool:
    """A storage class's allowedTopologies; none allow every node."""
    listed = list(terms)
    if not listed:
        return True
    return any(
        term.matchLabelExpressions
        and all(labels.get(e.key) in e.values for e in term.matchLabelExpressions)
        for term in listed
    )
