"""Bound claims must be reachable from the node; unbound ones that wait for their first consumer
are bound to a fitting volume or provisioned for the chosen node.

    PreFilter: which claims are bound, which wait · Filter: can the node serve them? ·
    Reserve: volumes and claims are promised · PreBind: the promise is written, then waited for.

Source: pkg/scheduler/framework/plugins/volumebinding/{volume_binding,binder}.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from podpath.api import scheme
from protos.k8s.core_v1_pb2 import Node, PersistentVolumeClaim, Pod
from protos.k8s.storage_v1_pb2 import CSINode, CSIStorageCapacity, StorageClass
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import UPDATE, Action, Registration
from scheduler.framework.handle import Handle
from scheduler.framework.status import SKIP, SUCCESS, Status, failed, unresolvable
from scheduler.node_info import NodeInfo
from scheduler.plugins import volume_claims
from scheduler.plugins.csi_migration import MIGRATED_PLUGINS, TranslationError
from scheduler.plugins.volume_claims import (
    SELECTED_NODE,
    WAIT_FOR_FIRST_CONSUMER,
    claim_uses,
    class_of,
    is_fully_bound,
    storage_class,
    uses_claim,
)
from scheduler.plugins.volume_matching import (
    NO_VOLUMES,
    capacity_limit,
    matching_volume,
    provisioning_problem,
    size,
)
from scheduler.plugins.volume_promises import BIND_TIMEOUT_S, NodeVolumes, is_reachable, keep
from scheduler.pod_info import PodInfo

NAME = "VolumeBinding"

_AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
_NO_SUCH_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


@dataclass(slots=True)
class _State:
    bound: list[PersistentVolumeClaim]
    waiting: list[PersistentVolumeClaim]
    by_node: dict[str, NodeVolumes] = field(default_factory=dict)


class VolumeBinding:
    name = NAME

    def __init__(self, handle: Handle, bind_timeout_s: float = BIND_TIMEOUT_S) -> None:
        self._handle = handle
        self._bind_timeout_s = bind_timeout_s
        # Promised to Pods whose binding is under way: volume -> claim, claim -> node.
        self._promised: dict[str, tuple[str, str]] = {}
        self._selected: dict[tuple[str, str], str] = {}

    def events_to_register(self) -> Sequence[Registration]:
        return (
            Registration(scheme.STORAGECLASSES, Action.ADD | UPDATE, _topologies_differ),
            Registration(
                scheme.PERSISTENTVOLUMECLAIMS,
                Action.ADD | UPDATE,
                lambda pod, _old, new: uses_claim(pod.pod, new),
            ),
            Registration(scheme.PERSISTENTVOLUMES, Action.ADD | UPDATE),
            Registration(scheme.NODES, Action.ADD | Action.NODE_LABELS),
            Registration(scheme.CSINODES, Action.ADD | UPDATE, _migration_differs),
            Registration(scheme.CSIDRIVERS, UPDATE),
            Registration(scheme.CSISTORAGECAPACITIES, Action.ADD | UPDATE, _has_more_room),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        claims: list[PersistentVolumeClaim] = []
        for use in claim_uses(pod.pod):
            claim = self._handle.listers.get(scheme.PERSISTENTVOLUMECLAIMS, use.namespace, use.name)
            problem = _problem(use, claim, pod.pod)
            if problem:
                return unresolvable(NAME, problem)
            assert claim is not None
            claims.append(claim)
        if not claims:
            return SKIP
        bound = [claim for claim in claims if is_fully_bound(claim)]
        waiting: list[PersistentVolumeClaim] = []
        for claim in claims:
            if is_fully_bound(claim):
                continue
            its_class = storage_class(claim, self._handle.listers)
            if class_of(claim) and its_class is None:
                return failed(NAME, f'storageclass.storage.k8s.io "{class_of(claim)}" not found')
            if claim.spec.volumeName or not _waits(its_class):
                return unresolvable(NAME, "pod has unbound immediate PersistentVolumeClaims")
            waiting.append(claim)
        state.write(NAME, _State(bound, waiting))
        return SUCCESS

    def filter(self, state: CycleState, _pod: PodInfo, node: NodeInfo) -> Status:
        assert node.node is not None
        found: _State = state.read(NAME)
        try:
            reasons = self._bound_reasons(found.bound, node.node)
        except TranslationError as error:
            return failed(NAME, f"could not translate pv: {error}")
        volumes = NodeVolumes()
        if found.waiting:
            reasons += self._find(found.waiting, node.node, volumes)
        if reasons:
            return unresolvable(NAME, *reasons)
        found.by_node[node.name] = volumes
        return SUCCESS

    def _bound_reasons(self, bound: Sequence[PersistentVolumeClaim], node: Node) -> list[str]:
        for claim in bound:
            volume = self._handle.listers.get(scheme.PERSISTENTVOLUMES, "", claim.spec.volumeName)
            if volume is None:
                return [_NO_SUCH_VOLUME]
            if not is_reachable(volume, node, self._handle.listers):
                return [_AFFINITY]
        return []

    def _find(
        self, waiting: Sequence[PersistentVolumeClaim], node: Node, found: NodeVolumes
    ) -> list[str]:
        """Existing volumes for the claims, smallest claims first; the rest is provisioned."""
        chosen: set[str] = set()
        to_provision: list[PersistentVolumeClaim] = []
        for claim in sorted(waiting, key=size):
            selected = claim.metadata.annotations.get(SELECTED_NODE) or self._selected.get(
                (claim.metadata.namespace, claim.metadata.name)
            )
            if selected:
                if selected != node.metadata.name:
                    return [NO_VOLUMES]
                to_provision.append(claim)
                continue
            volume = matching_volume(
                claim, node, self._handle.listers, chosen=chosen, promised=self._promised
            )
            if volume is None:
                to_provision.append(claim)
            else:
                chosen.add(volume.metadata.name)
                found.bind.append((volume, claim))
        for claim in to_provision:
            problem = provisioning_problem(claim, node, self._handle.listers)
            if problem:
                return [problem]
        found.provision.extend(to_provision)
        return []

    def pre_score(self, _state: CycleState, _pod: PodInfo, _nodes: Sequence[NodeInfo]) -> Status:
        """Scoring by capacity is off, as upstream's default is."""
        return SKIP

    def score(self, _state: CycleState, _pod: PodInfo, _node: NodeInfo) -> int:
        return 0

    def reserve(self, state: CycleState, _pod: PodInfo, node_name: str) -> Status:
        volumes = self._volumes(state, node_name)
        for volume, claim in volumes.bind:
            self._promised[volume.metadata.name] = (claim.metadata.namespace, claim.metadata.name)
        for claim in volumes.provision:
            self._selected[claim.metadata.namespace, claim.metadata.name] = node_name
        return SUCCESS

    def unreserve(self, state: CycleState, _pod: PodInfo, node_name: str) -> None:
        volumes = self._volumes(state, node_name)
        for volume, _ in volumes.bind:
            self._promised.pop(volume.metadata.name, None)
        for claim in volumes.provision:
            self._selected.pop((claim.metadata.namespace, claim.metadata.name), None)

    def _volumes(self, state: CycleState, node_name: str) -> NodeVolumes:
        found: _State | None = state.find(NAME)
        return (found and found.by_node.get(node_name)) or NodeVolumes()

    def needs_pre_bind(self, state: CycleState, node_name: str) -> bool:
        volumes = self._volumes(state, node_name)
        return bool(volumes.bind or volumes.provision)

    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        """Writes what was promised and waits until the volume controller has carried it out."""
        volumes = self._volumes(state, node_name)
        if not volumes.bind and not volumes.provision:
            return SUCCESS
        outcome = await keep(self._handle, pod, volumes, node_name, self._bind_timeout_s)
        if outcome is SUCCESS:
            self.unreserve(state, pod, node_name)
        return outcome


def _problem(use: volume_claims.ClaimUse, claim: PersistentVolumeClaim | None, pod: Pod) -> str:
    if claim is None:
        if use.ephemeral:
            return (
                "waiting for ephemeral volume controller to create the persistentvolumeclaim "
                f'"{use.name}"'
            )
        return f'persistentvolumeclaim "{use.name}" not found'
    if claim.status.phase == "Lost":
        return (
            f'persistentvolumeclaim "{use.name}" bound to non-existent persistentvolume '
            f'"{claim.spec.volumeName}"'
        )
    if claim.metadata.HasField("deletionTimestamp"):
        return f'persistentvolumeclaim "{use.name}" is being deleted'
    if use.ephemeral and not volume_claims.is_owned_by(claim, pod):
        return volume_claims.not_owned(claim, pod)
    return ""


def _waits(its_class: StorageClass | None) -> bool:
    return its_class is not None and its_class.volumeBindingMode == WAIT_FOR_FIRST_CONSUMER


def _migration_differs(_pod: PodInfo, old: CSINode | None, new: CSINode) -> bool:
    if old is None:
        return True
    before, after = old.metadata.annotations, new.metadata.annotations
    return before.get(MIGRATED_PLUGINS, "") != after.get(MIGRATED_PLUGINS, "")


def _topologies_differ(_pod: PodInfo, old: StorageClass | None, new: StorageClass) -> bool:
    return old is None or list(old.allowedTopologies) != list(new.allowedTopologies)


def _has_more_room(_pod: PodInfo, old: CSIStorageCapacity | None, new: CSIStorageCapacity) -> bool:
    if old is None:
        return True
    before, after = capacity_limit(old), capacity_limit(new)
    return after is not None and (before is None or after > before)
