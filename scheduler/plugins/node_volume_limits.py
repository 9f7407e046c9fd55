"""CSI drivers attach only so many volumes to a node.

Source: pkg/scheduler/framework/plugins/nodevolumelimits/csi.go.
"""

from collections import Counter
from collections.abc import Sequence

from podpath.api import scheme
from protos.k8s.core_v1_pb2 import PersistentVolumeClaim, Pod
from protos.k8s.storage_v1_pb2 import CSINode
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.handle import Handle
from scheduler.framework.status import SKIP, SUCCESS, Status, failed, unresolvable, unschedulable
from scheduler.node_info import NodeInfo
from scheduler.plugins import csi_migration
from scheduler.plugins.csi_migration import TranslationError
from scheduler.plugins.volume_claims import (
    claim_uses,
    is_owned_by,
    not_owned,
    storage_class,
    uses_claim,
)
from scheduler.pod_info import PodInfo

NAME = "NodeVolumeLimits"
_REJECTED = unschedulable(NAME, "node(s) exceed max volume count")

Volumes = dict[str, str]  # a volume's unique name -> its driver


class NodeVolumeLimits:
    """Counts volumes by the CSI driver that attaches them, also those of in-tree plugins."""

    name = NAME

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.CSINODES, Action.ADD | Action.OTHER_UPDATE),
            Registration(scheme.PODS, Action.DELETE, _frees_a_volume),
            Registration(
                scheme.PERSISTENTVOLUMECLAIMS,
                Action.ADD,
                lambda pod, _old, new: uses_claim(pod.pod, new),
            ),
            Registration(scheme.VOLUMEATTACHMENTS, Action.DELETE),
        )

    def pre_filter(self, _state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        return SUCCESS if _has_counted_volumes(pod.pod) else SKIP

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        csi_node = self._handle.listers.get(scheme.CSINODES, "", node.name)
        for use in claim_uses(pod.pod):
            claim = self._handle.listers.get(scheme.PERSISTENTVOLUMECLAIMS, use.namespace, use.name)
            if claim is None:
                return unresolvable(
                    NAME,
                    f"looking up PVC {use.namespace}/{use.name}: "
                    f'persistentvolumeclaim "{use.name}" not found',
                )
            if use.ephemeral and not is_owned_by(claim, pod.pod):
                return failed(NAME, not_owned(claim, pod.pod))
        try:
            fresh = self._volumes(pod.pod, csi_node)
            limits = _limits(csi_node)
            if not fresh or not limits:
                return SUCCESS
            attached: Volumes = {}
            for other in node.pods.values():
                attached.update(self._volumes(other.pod, csi_node))
        except TranslationError as error:
            return failed(NAME, f"converting volume from inline to csi: {error}")
        taken = Counter({**self._attachments(node.name), **attached}.values())
        wanted = Counter(driver for name, driver in fresh.items() if name not in attached)
        for driver, count in wanted.items():
            if driver in limits and taken[driver] + count > limits[driver]:
                return _REJECTED
        return SUCCESS

    def _volumes(self, pod: Pod, csi_node: CSINode | None) -> Volumes:
        """A Pod's own. A claim that is not there counts nothing. Raises: TranslationError."""
        found: Volumes = {}
        for use in claim_uses(pod):
            claim = self._handle.listers.get(scheme.PERSISTENTVOLUMECLAIMS, use.namespace, use.name)
            if claim is not None:
                _add(found, self._of_claim(claim, csi_node))
        for volume in pod.spec.volumes:
            _add(found, csi_migration.inline_volume(volume, csi_node))
        return found

    def _of_claim(
        self, claim: PersistentVolumeClaim, csi_node: CSINode | None
    ) -> tuple[str, str] | None:
        listers = self._handle.listers
        name = claim.spec.volumeName
        volume = listers.get(scheme.PERSISTENTVOLUMES, "", name) if name else None
        if volume is not None:
            return csi_migration.persistent_volume(volume, csi_node)
        # Not provisioned yet: the class tells which driver will.
        its_class = storage_class(claim, listers)
        if its_class is None:
            return None
        meta = claim.metadata
        handle = f"\0{meta.namespace}/{meta.name}"
        return csi_migration.driver_of(its_class.provisioner, csi_node), handle

    def _attachments(self, node_name: str) -> Volumes:
        """VolumeAttachments, whose Pods may be gone."""
        found: Volumes = {}
        for attachment in self._handle.listers.list(scheme.VOLUMEATTACHMENTS):
            spec = attachment.spec
            if spec.nodeName != node_name or not spec.attacher:
                continue
            volume = self._handle.listers.get(
                scheme.PERSISTENTVOLUMES, "", spec.source.persistentVolumeName
            )
            if volume is not None and volume.spec.persistentVolumeSource.HasField("csi"):
                handle = volume.spec.persistentVolumeSource.csi.volumeHandle
                found[f"{spec.attacher}/{handle}"] = spec.attacher
        return found


def _add(found: Volumes, volume: tuple[str, str] | None) -> None:
    if volume is not None and all(volume):
        driver, handle = volume
        found[f"{driver}/{handle}"] = driver


def _limits(csi_node: CSINode | None) -> dict[str, int]:
    if csi_node is None:
        return {}
    return {
        driver.name: driver.allocatable.count
        for driver in csi_node.spec.drivers
        if driver.HasField("allocatable") and driver.allocatable.HasField("count")
    }


def _has_counted_volumes(pod: Pod) -> bool:
    return bool(claim_uses(pod)) or any(map(csi_migration.is_inline, pod.spec.volumes))


def _frees_a_volume(_pod: PodInfo, old: PodInfo, _new: None) -> bool:
    return bool(old.pod.spec.nodeName) and _has_counted_volumes(old.pod)
