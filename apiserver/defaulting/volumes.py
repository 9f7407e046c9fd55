"""Defaults of a Pod's volumes.

Source: pkg/apis/core/v1/defaults.go (SetDefaults_Volume and the volume sources').
"""

from collections.abc import Iterable

from protos.k8s.core_v1_pb2 import (
    DownwardAPIVolumeFile,
    ProjectedVolumeSource,
    Volume,
    VolumeSource,
)

_FILE_MODE = 0o644
_TOKEN_SECONDS = 3600


def volume_defaults(volume: Volume) -> None:
    source = volume.volumeSource
    if not source.ListFields():
        source.emptyDir.SetInParent()
        return
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if source.HasField(name) and not getattr(source, name).HasField("defaultMode"):
            getattr(source, name).defaultMode = _FILE_MODE
    if source.HasField("downwardAPI"):
        _downward_defaults(source.downwardAPI.items)
    if source.HasField("projected"):
        _projected_defaults(source.projected)
    if source.HasField("hostPath") and not source.hostPath.HasField("type"):
        source.hostPath.type = ""
    if source.HasField("ephemeral") and source.ephemeral.HasField("volumeClaimTemplate"):
        claim = source.ephemeral.volumeClaimTemplate.spec
        if not claim.HasField("volumeMode"):
            claim.volumeMode = "Filesystem"
    _legacy_defaults(source)


def _downward_defaults(items: Iterable[DownwardAPIVolumeFile]) -> None:
    for item in items:
        if item.HasField("fieldRef"):
            item.fieldRef.apiVersion = item.fieldRef.apiVersion or "v1"


def _projected_defaults(projected: ProjectedVolumeSource) -> None:
    for source in projected.sources:
        if source.HasField("serviceAccountToken"):
            token = source.serviceAccountToken
            if not token.HasField("expirationSeconds"):
                token.expirationSeconds = _TOKEN_SECONDS
        if source.HasField("downwardAPI"):
            _downward_defaults(source.downwardAPI.items)


def _legacy_defaults(source: VolumeSource) -> None:
    """Network volumes that no component here mounts, but whose stored form is upstream's."""
    if source.HasField("iscsi"):
        source.iscsi.iscsiInterface = source.iscsi.iscsiInterface or "default"
    if source.HasField("rbd"):
        source.rbd.pool = source.rbd.pool or "rbd"
        source.rbd.user = source.rbd.user or "admin"
        source.rbd.keyring = source.rbd.keyring or "/etc/ceph/keyring"
    if source.HasField("scaleIO"):
        source.scaleIO.storageMode = source.scaleIO.storageMode or "ThinProvisioned"
        source.scaleIO.fsType = source.scaleIO.fsType or "xfs"
    if source.HasField("azureDisk"):
        disk = source.azureDisk
        texts = {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared"}
        for name, text in texts.items():
            if not disk.HasField(name):
                setattr(disk, name, text)
        if not disk.HasField("readOnly"):
            disk.readOnly = False
