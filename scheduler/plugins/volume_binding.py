"""Bound claims must be reachable from the node; unbound ones that wait for their first consumer
are bound to a fitting volume or provisioned for the chosen node.

    PreFilter: which claims are bound, which wait · Filter: can the node serve them? ·
    Reserve: volumes and claims are promised · PreBind: the promise is written, then waited for.

Source: pkg/scheduler/framework/plugins/volumebinding/{volume_binding,binder}.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from podpath.api import quantity, scheme, selectors
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Node, PersistentVolume, PersistentVolumeClaim, Pod
from protos.k8s.storage_v1_pb2 import CSIStorageCapacity, StorageClass
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.events import UPDATE, Action, Registration
from scheduler.framework.handle import Handle
from scheduler.framework.status import SKIP, SUCCESS, Status, failed, unresolvable
from scheduler.node_info import NodeInfo
from scheduler.plugins import volume_claims
from scheduler.plugins.volume_claims import (
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    WAIT_FOR_FIRST_CONSUMER,
    claim_uses,
    class_of,
    class_of_volume,
    is_fully_bound,
    matches_topologies,
    storage_class,
    uses_claim,
    volume_fits_node,
)
from scheduler.pod_info import PodInfo

NAME = "VolumeBinding"
BIND_TIMEOUT_S = 600.0
POLL_S = 1.0

_NO_VOLUMES = "node(s) didn't find available persistent volumes to bind"
_AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
_NO_SPACE = "node(s) did not have enough free storage"
_NO_SUCH_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


@dataclass(slots=True)
class NodeVolumes:
    """What binding the Pod to one node means: volumes for claims, claims to provision."""

    bind: list[tuple[PersistentVolume, PersistentVolumeClaim]] = field(default_factory=list)
    provision: list[PersistentVolumeClaim] = field(default_factory=list)


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
            Registration(scheme.CSINODES, Action.ADD | UPDATE, lambda _pod, old, _new: old is None),
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
        reasons = self._bound_reasons(found.bound, node.node)
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
            if not volume_fits_node(volume, node):
                return [_AFFINITY]
        return []

    def _find(
        self, waiting: Sequence[PersistentVolumeClaim], node: Node, found: NodeVolumes
    ) -> list[str]:
        """Existing volumes for the claims, smallest claims first; the rest is provisioned."""
        chosen: set[str] = set()
        to_provision: list[PersistentVolumeClaim] = []
        for claim in sorted(waiting, key=_size):
            selected = claim.metadata.annotations.get(SELECTED_NODE) or self._selected.get(
                (claim.metadata.namespace, claim.metadata.name)
            )
            if selected:
                if selected != node.metadata.name:
                    return [_NO_VOLUMES]
                to_provision.append(claim)
                continue
            volume = self._matching_volume(claim, node, chosen)
            if volume is None:
                to_provision.append(claim)
            else:
                chosen.add(volume.metadata.name)
                found.bind.append((volume, claim))
        for claim in to_provision:
            problem = self._provisioning_problem(claim, node)
            if problem:
                return [problem]
        found.provision.extend(to_provision)
        return []

    def _matching_volume(
        self, claim: PersistentVolumeClaim, node: Node, chosen: set[str]
    ) -> PersistentVolume | None:
        """The volume already meant for the claim, else the smallest free one that suits."""
        key = (claim.metadata.namespace, claim.metadata.name)
        best: PersistentVolume | None = None
        for volume in self._handle.listers.list(scheme.PERSISTENTVOLUMES):
            name = volume.metadata.name
            if name in chosen or class_of_volume(volume) != class_of(claim):
                continue
            if not _suits(volume, claim) or self._promised.get(name, key) != key:
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

    def _provisioning_problem(self, claim: PersistentVolumeClaim, node: Node) -> str:
        its_class = storage_class(claim, self._handle.listers)
        if its_class is None or its_class.provisioner in ("", NO_PROVISIONER):
            return _NO_VOLUMES
        if not matches_topologies(its_class.allowedTopologies, node.metadata.labels):
            return _NO_VOLUMES
        return "" if self._has_capacity(claim, its_class, node) else _NO_SPACE

    def _has_capacity(
        self, claim: PersistentVolumeClaim, its_class: StorageClass, node: Node
    ) -> bool:
        """Of drivers that publish their capacity, one must have enough within the node's reach."""
        driver = self._handle.listers.get(scheme.CSIDRIVERS, "", its_class.provisioner)
        if driver is None or not driver.spec.storageCapacity:
            return True
        if "storage" not in claim.spec.resources.requests:
            return True
        return any(
            capacity.storageClassName == its_class.metadata.name
            and (_limit(capacity) or 0) >= _size(claim)
            and capacity.HasField("nodeTopology")
            and selectors.from_message(capacity.nodeTopology).matches(node.metadata.labels)
            for capacity in self._handle.listers.list(scheme.CSISTORAGECAPACITIES)
        )

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
        client, clock = self._handle.client, self._handle.clock
        assert client is not None
        try:
            for volume, claim in volumes.bind:
                await client.update(scheme.PERSISTENTVOLUMES, bound_to(volume, claim))
            for claim in volumes.provision:
                selected = PersistentVolumeClaim()
                selected.CopyFrom(claim)
                selected.metadata.annotations[SELECTED_NODE] = node_name
                await client.update(scheme.PERSISTENTVOLUMECLAIMS, selected)
        except ApiError as error:
            return failed(NAME, str(error))
        deadline = clock.monotonic() + self._bind_timeout_s
        while True:
            outcome = self._progress(pod.pod, volumes, node_name)
            if outcome is not None:
                if outcome is SUCCESS:
                    self.unreserve(state, pod, node_name)
                return outcome
            if clock.monotonic() >= deadline:
                return failed(NAME, "binding volumes: context deadline exceeded")
            await clock.sleep(POLL_S)

    def _progress(self, pod: Pod, volumes: NodeVolumes, node_name: str) -> Status | None:
        """SUCCESS, a failure, or None while it is under way."""
        claims = [claim for _, claim in volumes.bind] + volumes.provision
        for claim in claims:
            meta = claim.metadata
            now = self._handle.listers.get(scheme.PERSISTENTVOLUMECLAIMS, meta.namespace, meta.name)
            if now is None:
                return failed(NAME, f'binding volumes: could not find pvc "{meta.name}"')
            if claim in volumes.provision:
                selected = now.metadata.annotations.get(SELECTED_NODE)
                if now.metadata.resourceVersion != meta.resourceVersion and selected != node_name:
                    return failed(
                        NAME, f'binding volumes: provisioning failed for PVC "{meta.name}"'
                    )
            if not is_fully_bound(now):
                return None
        return SUCCESS


def bound_to(volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
    """The volume with its claimRef set to the claim."""
    taken = PersistentVolume()
    taken.CopyFrom(volume)
    reference, meta = taken.spec.claimRef, claim.metadata
    if not volume.spec.HasField("claimRef"):
        taken.metadata.annotations[BOUND_BY_CONTROLLER] = "yes"
    reference.kind, reference.apiVersion = "PersistentVolumeClaim", "v1"
    reference.namespace, reference.name, reference.uid = meta.namespace, meta.name, meta.uid
    reference.resourceVersion = meta.resourceVersion
    return taken


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


def _size(claim: PersistentVolumeClaim) -> int:
    requests = claim.spec.resources.requests
    return quantity.value(requests["storage"].string) if "storage" in requests else 0


def _capacity(volume: PersistentVolume) -> int:
    capacity = volume.spec.capacity
    return quantity.value(capacity["storage"].string) if "storage" in capacity else 0


def _suits(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Large enough, of the right mode, labelled as wanted, and not on its way out."""
    spec = claim.spec
    if _capacity(volume) < _size(claim) or volume.metadata.HasField("deletionTimestamp"):
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


def _limit(capacity: CSIStorageCapacity) -> int | None:
    for name in ("maximumVolumeSize", "capacity"):
        if capacity.HasField(name):
            return quantity.value(getattr(capacity, name).string)
    return None


def _topologies_differ(_pod: PodInfo, old: StorageClass | None, new: StorageClass) -> bool:
    return old is None or list(old.allowedTopologies) != list(new.allowedTopologies)


def _has_more_room(_pod: PodInfo, old: CSIStorageCapacity | None, new: CSIStorageCapacity) -> bool:
    if old is None:
        return True
    before, after = _limit(old), _limit(new)
    return after is not None and (before is None or after > before)
