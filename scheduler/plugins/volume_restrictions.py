"""Disks that only one Pod may use, on a node or at all.

Source: pkg/scheduler/framework/plugins/volumerestrictions/volume_restrictions.go.
"""

from collections.abc import Sequence

from podpath.api import scheme
from protos.k8s.core_v1_pb2 import PersistentVolumeClaim, VolumeSource
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import Action, Registration
from scheduler.framework.handle import Handle
from scheduler.framework.status import SKIP, SUCCESS, Status, unresolvable, unschedulable
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

NAME = "VolumeRestrictions"
_DISK_CONFLICT = unschedulable(NAME, "node(s) had no available disk")
_ONE_POD_CONFLICT = unschedulable(
    NAME,
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
)
_DISKS = ("gcePersistentDisk", "awsElasticBlockStore", "iscsi", "rbd")


def _disks(pod: PodInfo) -> list[VolumeSource]:
    return [
        v.volumeSource
        for v in pod.pod.spec.volumes
        if any(v.volumeSource.HasField(kind) for kind in _DISKS)
    ]


def conflict(one: VolumeSource, other: VolumeSource) -> bool:
    """Whether both are the same disk; sharing is fine where all only read (not on AWS)."""
    if one.HasField("gcePersistentDisk") and other.HasField("gcePersistentDisk"):
        a, b = one.gcePersistentDisk, other.gcePersistentDisk
        if a.pdName == b.pdName and not (a.readOnly and b.readOnly):
            return True
    if (
        one.HasField("awsElasticBlockStore")
        and other.HasField("awsElasticBlockStore")
        and one.awsElasticBlockStore.volumeID == other.awsElasticBlockStore.volumeID
    ):
        return True
    if one.HasField("iscsi") and other.HasField("iscsi"):
        c, d = one.iscsi, other.iscsi
        if c.iqn == d.iqn and not (c.readOnly and d.readOnly):
            return True
    if one.HasField("rbd") and other.HasField("rbd"):
        e, f = one.rbd, other.rbd
        return (
            bool(set(e.monitors) & set(f.monitors))
            and (e.pool, e.image) == (f.pool, f.image)
            and not (e.readOnly and f.readOnly)
        )
    return False


def has_disk_conflict(pod: PodInfo, other: PodInfo) -> bool:
    theirs = _disks(other)
    return bool(theirs) and any(conflict(v, w) for v in _disks(pod) for w in theirs)


class _State:
    """Claims of the Pod that one Pod only may use, and how many uses there are already."""

    def __init__(self, claims: frozenset[tuple[str, str]], uses: int) -> None:
        self.claims = claims
        self.uses = uses

    def clone(self) -> "_State":
        return _State(self.claims, self.uses)

    def update(self, other: PodInfo, delta: int) -> None:
        self.uses += delta * sum(claim in self.claims for claim in other.claims)


class VolumeRestrictions:
    name = NAME

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.PODS, Action.DELETE, _frees_a_disk),
            Registration(scheme.NODES, Action.ADD),
            Registration(scheme.PERSISTENTVOLUMECLAIMS, Action.ADD, _is_claimed),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        exclusive: set[tuple[str, str]] = set()
        for namespace, name in pod.claims:
            claim = self._handle.listers.get(scheme.PERSISTENTVOLUMECLAIMS, namespace, name)
            if claim is None:
                return unresolvable(NAME, f'persistentvolumeclaim "{name}" not found')
            if "ReadWriteOncePod" in claim.spec.accessModes:
                exclusive.add((namespace, name))
        uses = sum(self._handle.cluster.is_claim_used(*claim) for claim in exclusive)
        if not uses and not _disks(pod):
            return SKIP
        state.write(NAME, _State(frozenset(exclusive), uses))
        return SUCCESS

    def add_pod(self, state: CycleState, _pod: PodInfo, added: PodInfo, _node: NodeInfo) -> None:
        state.read(NAME).update(added, 1)

    def remove_pod(
        self, state: CycleState, _pod: PodInfo, removed: PodInfo, _node: NodeInfo
    ) -> None:
        state.read(NAME).update(removed, -1)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        if any(has_disk_conflict(pod, other) for other in node.pods.values()):
            return _DISK_CONFLICT
        found: _State = state.read(NAME)
        return _ONE_POD_CONFLICT if found.uses > 0 else SUCCESS


def _frees_a_disk(pod: PodInfo, old: PodInfo, _new: None) -> bool:
    if old.key[0] != pod.key[0]:
        return False
    shared = set(pod.claims) & set(old.claims)
    return bool(shared) or has_disk_conflict(pod, old)


def _is_claimed(pod: PodInfo, _old: None, new: PersistentVolumeClaim) -> bool:
    return (new.metadata.namespace, new.metadata.name) in pod.claims
