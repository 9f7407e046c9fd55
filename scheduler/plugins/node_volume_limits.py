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
    """Counts CSI volumes; in-tree volumes are not translated to their CSI drivers."""

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
        return SUCCESS if claim_uses(pod.pod) else SKIP

    def filter(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        fresh: Volumes = {}
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
            self._count(claim, fresh)
        limits = self._limits(node.name)
        if not fresh or not limits:
            return SUCCESS
        attached = self._attached(node)
        taken = Counter(attached.values())
        wanted = Counter(driver for name, driver in fresh.items() if name not in attached)
        for driver, count in wanted.items():
            if driver in limits and taken[driver] + count > limits[driver]:
                return _REJECTED
        return SUCCESS

    def _limits(self, node_name: str) -> dict[str, int]:
        csi_node: CSINode | None = self._handle.listers.get(scheme.CSINODES, "", node_name)
        if csi_node is None:
            return {}
        return {
            driver.name: driver.allocatable.count
            for driver in csi_node.spec.drivers
            if driver.HasField("allocatable") and driver.allocatable.HasField("count")
        }

    def _attached(self, node: NodeInfo) -> Volumes:
        """By the node's Pods, and by VolumeAttachments whose Pods are gone."""
        found: Volumes = {}
        for other in node.pods.values():
            for claim in self._claims(other.pod):
                self._count(claim, found)
        for attachment in self._handle.listers.list(scheme.VOLUMEATTACHMENTS):
            spec = attachment.spec
            if spec.nodeName != node.name or not spec.attacher:
                continue
            volume = self._handle.listers.get(
                scheme.PERSISTENTVOLUMES, "", spec.source.persistentVolumeName
            )
            if volume is not None and volume.spec.persistentVolumeSource.HasField("csi"):
                handle = volume.spec.persistentVolumeSource.csi.volumeHandle
                found.setdefault(f"{spec.attacher}/{handle}", spec.attacher)
        return found

    def _claims(self, pod: Pod) -> list[PersistentVolumeClaim]:
        found = (
            self._handle.listers.get(scheme.PERSISTENTVOLUMECLAIMS, use.namespace, use.name)
            for use in claim_uses(pod)
        )
        return [claim for claim in found if claim is not None]

    def _count(self, claim: PersistentVolumeClaim, found: Volumes) -> None:
        listers = self._handle.listers
        name = claim.spec.volumeName
        volume = listers.get(scheme.PERSISTENTVOLUMES, "", name) if name else None
        if volume is None:
            # Not provisioned yet: the class tells which driver will.
            its_class = storage_class(claim, listers)
            if its_class is not None and its_class.provisioner:
                meta = claim.metadata
                driver = its_class.provisioner
                found[f"{driver}/\0{meta.namespace}/{meta.name}"] = driver
        elif volume.spec.persistentVolumeSource.HasField("csi"):
            source = volume.spec.persistentVolumeSource.csi
            if source.driver and source.volumeHandle:
                found[f"{source.driver}/{source.volumeHandle}"] = source.driver


def _frees_a_volume(_pod: PodInfo, old: PodInfo, _new: None) -> bool:
    return bool(old.pod.spec.nodeName) and bool(claim_uses(old.pod))
