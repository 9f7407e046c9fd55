"""What the Pods on each node refer to: the only objects that its kubelet may read.

Kept up to date by the caches' changes: a Pod costs something when it is bound, deleted or given an
ephemeral container, not at each status update.

Source: k8s.io/kubernetes plugin/pkg/auth/authorizer/node/{graph,graph_populator}.go.
"""

from collections.abc import Iterable, Iterator

from apiserver.lister import ChangeSource
from podpath.api import scheme
from protos.k8s.core_v1_pb2 import (
    Container,
    EphemeralContainerCommon,
    PersistentVolume,
    Pod,
    Volume,
)
from protos.k8s.storage_v1_pb2 import VolumeAttachment

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

Ref = tuple[str, str, str]  # resource, namespace, name


class NodeGraph:
    """Which node is related to which object."""

    def __init__(self, changes: ChangeSource) -> None:
        self._nodes: dict[Ref, dict[str, int]] = {}  # how many of the node's Pods refer to it
        self._pods: dict[Ref, tuple[str, frozenset[Ref]]] = {}
        self._claims: dict[str, Ref] = {}  # volume -> the claim that it is bound to
        self._volume_secrets: dict[str, frozenset[Ref]] = {}
        self._volumes_of_secret: dict[Ref, set[str]] = {}
        changes.subscribe(scheme.PODS, self._pod_changed)
        changes.subscribe(scheme.PERSISTENTVOLUMES, self._volume_changed)
        changes.subscribe(scheme.VOLUMEATTACHMENTS, self._attachment_changed)

    def related(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """True if the object belongs to the node: through one of its Pods, or directly."""
        ref = (resource, namespace, name)
        if node in self._nodes.get(ref, ()):
            return True
        if resource == "persistentvolumes":
            claim = self._claims.get(name)
            return claim is not None and node in self._nodes.get(claim, ())
        if resource == "secrets":
            volumes = self._volumes_of_secret.get(ref, ())
            return any(self.related(node, "persistentvolumes", "", v) for v in volumes)
        return False

    # ------------------------------------------------------------ changes

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new if new is not None else old
        if pod is None:
            return
        key = ("pods", pod.metadata.namespace, pod.metadata.name)
        before = self._pods.get(key)
        if new is None or not new.spec.nodeName:
            self._drop(key, before)
            return
        if before is not None and old is not None and _refers_alike(old, new):
            return
        after = (new.spec.nodeName, frozenset((key, *references(new))))
        if before != after:
            self._drop(key, before)
            self._pods[key] = after
            for ref in after[1]:
                counts = self._nodes.setdefault(ref, {})
                counts[after[0]] = counts.get(after[0], 0) + 1

    def _drop(self, key: Ref, before: tuple[str, frozenset[Ref]] | None) -> None:
        if before is None:
            return
        del self._pods[key]
        node, refs = before
        for ref in refs:
            counts = self._nodes[ref]
            counts[node] -= 1
            if not counts[node]:
                del counts[node]
                if not counts:
                    del self._nodes[ref]

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        volume = new if new is not None else old
        if volume is None:
            return
        name = volume.metadata.name
        self._claims.pop(name, None)
        for ref in self._volume_secrets.pop(name, frozenset()):
            self._volumes_of_secret[ref].discard(name)
        if new is None or not new.spec.HasField("claimRef"):
            return
        claim = new.spec.claimRef
        self._claims[name] = ("persistentvolumeclaims", claim.namespace, claim.name)
        secrets = frozenset(_volume_secrets(new))
        self._volume_secrets[name] = secrets
        for ref in secrets:
            self._volumes_of_secret.setdefault(ref, set()).add(name)

    def _attachment_changed(
        self, old: VolumeAttachment | None, new: VolumeAttachment | None
    ) -> None:
        attachment = new if new is not None else old
        if attachment is None:
            return
        ref = ("volumeattachments", "", attachment.metadata.name)
        self._nodes.pop(ref, None)
        if new is not None:
            self._nodes[ref] = {new.spec.nodeName: 1}


def _refers_alike(old: Pod, new: Pod) -> bool:
    """True if the update cannot have changed what the Pod refers to: its spec is fixed but for
    ephemeral containers."""
    return (
        old.metadata.uid == new.metadata.uid
        and old.spec.nodeName == new.spec.nodeName
        and len(old.spec.ephemeralContainers) == len(new.spec.ephemeralContainers)
    )


def references(pod: Pod) -> Iterator[Ref]:
    """Secrets, ConfigMaps, claims and the ServiceAccount that a Pod uses. None for mirror Pods."""
    if MIRROR_ANNOTATION in pod.metadata.annotations:
        return
    namespace, spec = pod.metadata.namespace, pod.spec
    if spec.serviceAccountName:
        yield "serviceaccounts", namespace, spec.serviceAccountName
    for name in secret_names(pod):
        yield "secrets", namespace, name
    for name in config_map_names(pod):
        yield "configmaps", namespace, name
    for name in claim_names(pod):
        yield "persistentvolumeclaims", namespace, name


def claim_names(pod: Pod) -> Iterator[str]:
    """Source: k8s.io/kubernetes pkg/volume/util (ephemeral volumes' claims are POD-VOLUME)."""
    for volume in pod.spec.volumes:
        if volume.volumeSource.HasField("persistentVolumeClaim"):
            yield volume.volumeSource.persistentVolumeClaim.claimName
        elif volume.volumeSource.HasField("ephemeral"):
            yield f"{pod.metadata.name}-{volume.name}"


def secret_names(pod: Pod) -> Iterator[str]:
    """Source: k8s.io/kubernetes pkg/api/v1/pod/util.go (VisitPodSecretNames)."""
    for reference in pod.spec.imagePullSecrets:
        yield reference.name
    for container in _containers(pod):
        for source in container.envFrom:
            if source.HasField("secretRef"):
                yield source.secretRef.localObjectReference.name
        for variable in container.env:
            if variable.valueFrom.HasField("secretKeyRef"):
                yield variable.valueFrom.secretKeyRef.localObjectReference.name
    for volume in pod.spec.volumes:
        yield from _secrets_of_volume(volume)


# Volume sources whose `secretRef` names a Secret of the Pod's namespace.
_WITH_SECRET_REF = ("cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos")


def _secrets_of_volume(volume: Volume) -> Iterator[str]:
    source = volume.volumeSource
    if source.HasField("secret"):
        yield source.secret.secretName
    elif source.HasField("azureFile"):
        yield source.azureFile.secretName
    elif source.HasField("projected"):
        for part in source.projected.sources:
            if part.HasField("secret"):
                yield part.secret.localObjectReference.name
    elif source.HasField("csi") and source.csi.HasField("nodePublishSecretRef"):
        yield source.csi.nodePublishSecretRef.name
    for kind in _WITH_SECRET_REF:
        if source.HasField(kind) and getattr(source, kind).HasField("secretRef"):
            yield getattr(source, kind).secretRef.name


def config_map_names(pod: Pod) -> Iterator[str]:
    """Source: k8s.io/kubernetes pkg/api/v1/pod/util.go (VisitPodConfigmapNames)."""
    for container in _containers(pod):
        for source in container.envFrom:
            if source.HasField("configMapRef"):
                yield source.configMapRef.localObjectReference.name
        for variable in container.env:
            if variable.valueFrom.HasField("configMapKeyRef"):
                yield variable.valueFrom.configMapKeyRef.localObjectReference.name
    for volume in pod.spec.volumes:
        if volume.volumeSource.HasField("configMap"):
            yield volume.volumeSource.configMap.localObjectReference.name
        for part in volume.volumeSource.projected.sources:
            if part.HasField("configMap"):
                yield part.configMap.localObjectReference.name


def _containers(pod: Pod) -> Iterable[Container | EphemeralContainerCommon]:
    yield from pod.spec.initContainers
    yield from pod.spec.containers
    for ephemeral in pod.spec.ephemeralContainers:
        yield ephemeral.ephemeralContainerCommon


def _volume_secrets(volume: PersistentVolume) -> Iterator[Ref]:
    """Secrets that mounting the volume on a node needs."""
    source = volume.spec.persistentVolumeSource
    if source.HasField("csi"):
        for name in ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"):
            if source.csi.HasField(name):
                ref = getattr(source.csi, name)
                yield "secrets", ref.namespace, ref.name
