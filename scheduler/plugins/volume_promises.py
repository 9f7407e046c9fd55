"""Carries out which volumes a Pod was promised with its node, before the Pod is bound there.

    write claimRef or selected-node ──> wait for the volume controller ──> all bound, and reachable

Source: pkg/scheduler/framework/plugins/volumebinding/binder.go (bindAPIUpdate, checkBindings).
"""

from dataclasses import dataclass, field

from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Node, PersistentVolume, PersistentVolumeClaim
from scheduler.framework.handle import Handle
from scheduler.framework.status import SUCCESS, Status, failed
from scheduler.listers import Listers
from scheduler.plugins.csi_migration import TranslationError, with_csi_topology
from scheduler.plugins.volume_claims import (
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    is_fully_bound,
    volume_fits_node,
)
from scheduler.pod_info import PodInfo

BIND_TIMEOUT_S = 600.0
POLL_S = 1.0


@dataclass(slots=True)
class NodeVolumes:
    """What binding the Pod to one node means: volumes for claims, claims to provision."""

    bind: list[tuple[PersistentVolume, PersistentVolumeClaim]] = field(default_factory=list)
    provision: list[PersistentVolumeClaim] = field(default_factory=list)


def is_reachable(volume: PersistentVolume, node: Node, listers: Listers) -> bool:
    """By the topology that the driver of a migrated volume knows. Raises: TranslationError."""
    csi_node = listers.get(scheme.CSINODES, "", node.metadata.name)
    return volume_fits_node(with_csi_topology(volume, csi_node), node)


async def keep(
    handle: Handle, pod: PodInfo, volumes: NodeVolumes, node_name: str, timeout_s: float
) -> Status:
    """Writes what was promised and waits until it is true."""
    assert handle.client is not None
    try:
        for volume, claim in volumes.bind:
            await handle.client.update(scheme.PERSISTENTVOLUMES, bound_to(volume, claim))
        for claim in volumes.provision:
            selected = PersistentVolumeClaim()
            selected.CopyFrom(claim)
            selected.metadata.annotations[SELECTED_NODE] = node_name
            await handle.client.update(scheme.PERSISTENTVOLUMECLAIMS, selected)
    except ApiError as error:
        return _broken(str(error))
    deadline = handle.clock.monotonic() + timeout_s
    while (outcome := _progress(handle, pod, volumes, node_name)) is None:
        if handle.clock.monotonic() >= deadline:
            return _broken("context deadline exceeded")
        await handle.clock.sleep(POLL_S)
    return outcome


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


def _progress(handle: Handle, pod: PodInfo, volumes: NodeVolumes, node_name: str) -> Status | None:
    """SUCCESS, a failure, or None while it is under way."""
    node = handle.cluster.node(node_name)
    if node is None or node.node is None:
        return _broken(f'could not find node "{node_name}"')
    if pod.uid not in node.pods:
        return _broken("pod does not exist any more")
    for claim in (*(claim for _, claim in volumes.bind), *volumes.provision):
        meta = claim.metadata
        now = handle.listers.get(scheme.PERSISTENTVOLUMECLAIMS, meta.namespace, meta.name)
        if now is None:
            return _broken(f'could not find pvc "{meta.name}"')
        is_written = now.metadata.resourceVersion != meta.resourceVersion
        selected = now.metadata.annotations.get(SELECTED_NODE)
        if claim in volumes.provision and is_written and selected != node_name:
            # Taken away by a provisioner that failed: the Pod is to be decided again.
            return _broken(f'provisioning failed for PVC "{meta.name}"')
        outcome = _bound(now, node.node, handle.listers)
        if outcome is not SUCCESS:
            return outcome
    return SUCCESS


def _bound(claim: PersistentVolumeClaim, node: Node, listers: Listers) -> Status | None:
    """Whether a claim has come to a volume that the node can use; None: not yet."""
    if not is_fully_bound(claim):
        return None
    volume = listers.get(scheme.PERSISTENTVOLUMES, "", claim.spec.volumeName)
    if volume is None:
        return None
    try:
        if is_reachable(volume, node, listers):
            return SUCCESS
    except TranslationError as error:
        return _broken(f"failed to translate pv to csi: {error}")
    name = node.metadata.name
    return _broken(f'pv "{volume.metadata.name}" node affinity doesn\'t match node "{name}"')


def _broken(why: str) -> Status:
    return failed("VolumeBinding", f"binding volumes: {why}")
