"""A Pod goes where its volumes' zone and region labels say they are.

Source: pkg/scheduler/framework/plugins/volumezone/volume_zone.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from podpath.api import scheme
from protos.k8s.core_v1_pb2 import PersistentVolume
from protos.k8s.storage_v1_pb2 import StorageClass
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import UPDATE, Action, Registration
from scheduler.framework.handle import Handle
from scheduler.framework.status import SKIP, SUCCESS, Status, unresolvable
from scheduler.node_info import NodeInfo
from scheduler.plugins.volume_claims import WAIT_FOR_FIRST_CONSUMER, class_of, uses_claim
from scheduler.pod_info import PodInfo

NAME = "VolumeZone"
_REJECTED = unresolvable(NAME, "node(s) had no available volume zone")

_BETA_ZONE = "failure-domain.beta.kubernetes.io/zone"
_BETA_REGION = "failure-domain.beta.kubernetes.io/region"
_ZONE = "topology.kubernetes.io/zone"
_REGION = "topology.kubernetes.io/region"
_LABELS = (_BETA_ZONE, _BETA_REGION, _ZONE, _REGION)
_PRESENT_NAMES = {_BETA_ZONE: _ZONE, _BETA_REGION: _REGION}


@dataclass(frozen=True, slots=True)
class VolumeTopology:
    key: str
    values: frozenset[str]


def topologies(volume: PersistentVolume) -> list[VolumeTopology]:
    """The volume's zone labels; a value may list several, joined by `__`."""
    labels = volume.metadata.labels
    found = [(key, frozenset(labels[key].split("__"))) for key in _LABELS if key in labels]
    return [VolumeTopology(key, values) for key, values in found if "" not in values]


class VolumeZone:
    name = NAME

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.STORAGECLASSES, Action.ADD, _waits_for_consumer),
            Registration(scheme.NODES, Action.ADD | Action.NODE_LABELS),
            Registration(
                scheme.PERSISTENTVOLUMECLAIMS,
                Action.ADD | UPDATE,
                lambda pod, _old, new: uses_claim(pod.pod, new),
            ),
            Registration(
                scheme.PERSISTENTVOLUMES,
                Action.ADD | UPDATE,
                lambda _pod, old, new: old is None or topologies(old) != topologies(new),
            ),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        found: list[VolumeTopology] = []
        for namespace, name in pod.claims:
            problem, volume = self._volume(namespace, name)
            if problem:
                return unresolvable(NAME, problem)
            if volume is not None:
                found += topologies(volume)
        if not found:
            return SKIP
        state.write(NAME, found)
        return SUCCESS

    def _volume(self, namespace: str, name: str) -> tuple[str, PersistentVolume | None]:
        """(what is wrong, the claim's volume); no volume while it waits for its first consumer."""
        listers = self._handle.listers
        if not name:
            return "PersistentVolumeClaim had no name", None
        claim = listers.get(scheme.PERSISTENTVOLUMECLAIMS, namespace, name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found', None
        if claim.spec.volumeName:
            volume = listers.get(scheme.PERSISTENTVOLUMES, "", claim.spec.volumeName)
            if volume is None:
                return f'persistentvolume "{claim.spec.volumeName}" not found', None
            return "", volume
        class_name = class_of(claim)
        if not class_name:
            return "PersistentVolumeClaim had no pv name and storageClass name", None
        storage_class = listers.get(scheme.STORAGECLASSES, "", class_name)
        if storage_class is None:
            return f'storageclass.storage.k8s.io "{class_name}" not found', None
        if not storage_class.HasField("volumeBindingMode"):
            return f'VolumeBindingMode not set for StorageClass "{class_name}"', None
        if storage_class.volumeBindingMode == WAIT_FOR_FIRST_CONSUMER:
            return "", None
        return "PersistentVolume had no name", None

    def filter(self, state: CycleState, _pod: PodInfo, node: NodeInfo) -> Status:
        """A node without any zone label takes all: it is in a cluster of one zone."""
        if not any(key in node.labels for key in _LABELS):
            return SUCCESS
        wanted: list[VolumeTopology] = state.read(NAME)
        for topology in wanted:
            key = topology.key
            value = node.labels.get(key, node.labels.get(_PRESENT_NAMES.get(key, key)))
            if value is None or value not in topology.values:
                return _REJECTED
        return SUCCESS


def _waits_for_consumer(_pod: PodInfo, _old: None, new: StorageClass) -> bool:
    return new.volumeBindingMode == WAIT_FOR_FIRST_CONSUMER
