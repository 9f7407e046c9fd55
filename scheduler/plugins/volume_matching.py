"""Which volume a claim that waits for its first consumer gets on a node, or whether one can
be made.

Source: pkg/scheduler/framework/plugins/volumebinding/binder.go (findMatchingVolumes,
checkVolumeProvisions), k8s.io/component-helpers storage/volume/pv_helpers.go (FindMatchingVolume).
"""

from collections.abc import Container, Mapping

from podpath.api import quantity, scheme, selectors
from protos.k8s.core_v1_pb2 import Node, PersistentVolume, PersistentVolumeClaim
from protos.k8s.storage_v1_pb2 import CSIStorageCapacity, StorageClass
from scheduler.listers import Listers
from scheduler.plugins.volume_claims import (
    NO_PROVISIONER,
    class_of,
    class_of_volume,
    matches_topologies,
    storage_class,
    volume_fits_node,
)

NO_VOLUMES = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"

ClaimKey = tuple[str, str]


def matching_volume(
    claim: PersistentVolumeClaim,
    node: Node,
    listers: Listers,
    *,
    chosen: Container[str],
    promised: Mapping[str, ClaimKey],
) -> PersistentVolume | None:
    """The volume already meant for the claim, else the smallest free one that suits.

    `chosen`: volumes that other claims of the Pod get; `promised`: those that other Pods' do.
    """
    key = (claim.metadata.namespace, claim.metadata.name)
    best: PersistentVolume | None = None
    for volume in listers.list(scheme.PERSISTENTVOLUMES):
        name = volume.metadata.name
        if name in chosen or class_of_volume(volume) != class_of(claim):
            continue
        if not _suits(volume, claim) or promised.get(name, key) != key:
            continue
        fits = volume_fits_node(volume, node)
        if volume.spec.HasField("claimRef"):
            if _is_for(volume, claim):
                return volume if fits else None
            continue
        if volume.status.phase != "Available" or not fits:
            continue
        if best is None or _capacity(volume) < _capacity(best):
            best = volume
    return best


def provisioning_problem(claim: PersistentVolumeClaim, node: Node, listers: Listers) -> str:
    """Why no volume can be made there for the claim; empty when one can."""
    its_class = storage_class(claim, listers)
    if its_class is None or its_class.provisioner in ("", NO_PROVISIONER):
        return NO_VOLUMES
    if not matches_topologies(its_class.allowedTopologies, node.metadata.labels):
        return NO_VOLUMES
    return "" if _has_capacity(claim, its_class, node, listers) else NO_SPACE


def _has_capacity(
    claim: PersistentVolumeClaim, its_class: StorageClass, node: Node, listers: Listers
) -> bool:
    """Of drivers that publish their capacity, one must have enough within the node's reach."""
    driver = listers.get(scheme.CSIDRIVERS, "", its_class.provisioner)
    if driver is None or not driver.spec.storageCapacity:
        return True
    if "storage" not in claim.spec.resources.requests:
        return True
    return any(
        capacity.storageClassName == its_class.metadata.name
        and (capacity_limit(capacity) or 0) >= size(claim)
        and capacity.HasField("nodeTopology")
        and selectors.from_message(capacity.nodeTopology).matches(node.metadata.labels)
        for capacity in listers.list(scheme.CSISTORAGECAPACITIES)
    )


def size(claim: PersistentVolumeClaim) -> int:
    requests = claim.spec.resources.requests
    return quantity.value(requests["storage"].string) if "storage" in requests else 0


def _capacity(volume: PersistentVolume) -> int:
    capacity = volume.spec.capacity
    return quantity.value(capacity["storage"].string) if "storage" in capacity else 0


def _suits(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Large enough, of the right mode, labelled as wanted, and not on its way out."""
    spec = claim.spec
    if _capacity(volume) < size(claim) or volume.metadata.HasField("deletionTimestamp"):
        return False
    if (spec.volumeMode or "Filesystem") != (volume.spec.volumeMode or "Filesystem"):
        return False
    if spec.volumeAttributesClassName != volume.spec.volumeAttributesClassName:
        return False
    if not set(spec.accessModes) <= set(volume.spec.accessModes):
        return False
    return not spec.HasField("selector") or selectors.from_message(spec.selector).matches(
        volume.metadata.labels
    )


def _is_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    reference, meta = volume.spec.claimRef, claim.metadata
    if (reference.namespace, reference.name) != (meta.namespace, meta.name):
        return False
    return not reference.uid or reference.uid == meta.uid


def capacity_limit(capacity: CSIStorageCapacity) -> int | None:
    for name in ("maximumVolumeSize", "capacity"):
        if capacity.HasField(name):
            return quantity.value(getattr(capacity, name).string)
    return None
