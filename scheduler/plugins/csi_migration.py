"""In-tree volumes that CSI drivers serve since: which driver, by which name it knows the volume,
and what its topology labels are called.

Cloud disks are always taken for their drivers' when volumes are counted; their topology counts only
on nodes whose CSINode says that the plugin was migrated there.

Source: k8s.io/csi-translation-lib, pkg/scheduler/framework/plugins/nodevolumelimits/utils.go,
plugins/volumebinding/binder.go (tryTranslatePVToCSI).
"""

import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from protos.k8s.core_v1_pb2 import PersistentVolume, Volume
from protos.k8s.storage_v1_pb2 import CSINode

MIGRATED_PLUGINS = "storage.alpha.kubernetes.io/migrated-plugins"

_ZONE, _BETA_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
_REGION, _BETA_REGION = "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"
_ZONES_DELIMITER = "__"
_UNSPECIFIED = "UNSPECIFIED"
_EBS_VOLUME = re.compile(r"vol-[^/]*")


class TranslationError(ValueError):
    """A volume that its CSI driver has no name for."""


def _ebs(source: Any, _labels: Mapping[str, str]) -> str:
    """`vol-1`, or an address with it: `aws://zone/vol-1`."""
    volume_id = str(source.volumeID)
    if not volume_id.startswith("aws://"):
        return volume_id
    found = urllib.parse.urlsplit(volume_id).path.strip("/")
    if not _EBS_VOLUME.fullmatch(found):
        raise TranslationError(
            "failed to translate Kubernetes ID to EBS Volume ID Invalid format for AWS volume "
            f"({volume_id})"
        )
    return found


def _gce(source: Any, labels: Mapping[str, str]) -> str:
    """By zone; by region for a disk of several zones."""
    zones = (labels.get(_BETA_ZONE) or labels.get(_ZONE) or _UNSPECIFIED).split(_ZONES_DELIMITER)
    if len(zones) == 1:
        return f"projects/{_UNSPECIFIED}/zones/{zones[0]}/disks/{source.pdName}"
    regions = {zone.rpartition("-")[0] for zone in zones}
    if len(regions) != 1 or any(zone.count("-") != 2 for zone in zones):
        raise TranslationError(f"failed to get region from zones: {', '.join(zones)}")
    return f"projects/{_UNSPECIFIED}/regions/{regions.pop()}/disks/{source.pdName}"


def _azure(source: Any, _labels: Mapping[str, str]) -> str:
    if source.kind and source.kind.lower() != "managed":
        raise TranslationError(f"kind({source.kind}) is not supported in csi migration")
    return str(source.diskURI)


def _volume_id(source: Any, _labels: Mapping[str, str]) -> str:
    return str(source.volumeID)


@dataclass(frozen=True, slots=True)
class Plugin:
    """An in-tree volume plugin: `name` as a provisioner, `field` in a volume's source."""

    name: str
    field: str
    driver: str
    handle: Callable[[Any, Mapping[str, str]], str]
    """(source, labels of the PersistentVolume) -> the driver's name. Raises: TranslationError."""
    topology_key: str = ""
    always_migrated: bool = True


_PLUGINS = (
    Plugin(
        "kubernetes.io/aws-ebs",
        "awsElasticBlockStore",
        "ebs.csi.aws.com",
        _ebs,
        "topology.ebs.csi.aws.com/zone",
    ),
    Plugin(
        "kubernetes.io/gce-pd",
        "gcePersistentDisk",
        "pd.csi.storage.gke.io",
        _gce,
        "topology.gke.io/zone",
    ),
    Plugin("kubernetes.io/azure-disk", "azureDisk", "disk.csi.azure.com", _azure),
    Plugin(
        "kubernetes.io/cinder",
        "cinder",
        "cinder.csi.openstack.org",
        _volume_id,
        "topology.cinder.csi.openstack.org/zone",
    ),
    Plugin(
        "kubernetes.io/portworx-volume",
        "portworxVolume",
        "pxd.portworx.com",
        _volume_id,
        always_migrated=False,
    ),
)
_BY_NAME = {plugin.name: plugin for plugin in _PLUGINS}
_NEVER_COUNTED = ("kubernetes.io/azure-file", "kubernetes.io/vsphere-volume")
"""Their drivers exist; the scheduler leaves their volumes alone."""


def _plugin_of(source: Any) -> Plugin | None:
    return next((plugin for plugin in _PLUGINS if source.HasField(plugin.field)), None)


def is_inline(volume: Volume) -> bool:
    """A volume of a Pod's own that names a disk, without a claim."""
    return _plugin_of(volume.volumeSource) is not None


def _is_migrated(plugin: Plugin, csi_node: CSINode | None) -> bool:
    """The node's CSINode lists the plugin."""
    if csi_node is None:
        return False
    return plugin.name in csi_node.metadata.annotations.get(MIGRATED_PLUGINS, "").split(",")


def _is_counted(plugin: Plugin, csi_node: CSINode | None) -> bool:
    if plugin.always_migrated:
        return csi_node is not None
    return _is_migrated(plugin, csi_node)


def inline_volume(volume: Volume, csi_node: CSINode | None) -> tuple[str, str] | None:
    """(driver, handle) of a disk that a Pod names itself; None for one that is not counted.

    Raises: TranslationError.
    """
    plugin = _plugin_of(volume.volumeSource)
    if plugin is None or not _is_counted(plugin, csi_node):
        return None
    return plugin.driver, plugin.handle(getattr(volume.volumeSource, plugin.field), {})


def persistent_volume(volume: PersistentVolume, csi_node: CSINode | None) -> tuple[str, str] | None:
    """(driver, handle) of a volume, of CSI or migrated to it; None for one that is not counted."""
    source = volume.spec.persistentVolumeSource
    if source.HasField("csi"):
        return source.csi.driver, source.csi.volumeHandle
    plugin = _plugin_of(source)
    if plugin is None or not _is_counted(plugin, csi_node):
        return None
    try:
        return plugin.driver, plugin.handle(getattr(source, plugin.field), volume.metadata.labels)
    except TranslationError:
        return None


def driver_of(provisioner: str, csi_node: CSINode | None) -> str:
    """The driver that will provision a volume; empty where it is not counted."""
    plugin = _BY_NAME.get(provisioner)
    if plugin is None:
        return "" if provisioner in _NEVER_COUNTED else provisioner
    return plugin.driver if _is_counted(plugin, csi_node) else ""


def with_csi_topology(volume: PersistentVolume, csi_node: CSINode | None) -> PersistentVolume:
    """The volume as its driver on the node knows it: zones by the driver's own label.

    Raises: TranslationError.
    """
    source = volume.spec.persistentVolumeSource
    plugin = _plugin_of(source)
    if plugin is None or not _is_migrated(plugin, csi_node):
        return volume
    plugin.handle(getattr(source, plugin.field), volume.metadata.labels)
    if not plugin.topology_key:
        return volume
    translated = PersistentVolume()
    translated.CopyFrom(volume)
    _translate_topology(translated, plugin.topology_key)
    return translated


def _translate_topology(volume: PersistentVolume, driver_key: str) -> None:
    """Node affinity goes before labels, and the labels of today before those of the past."""
    terms, labels = volume.spec.nodeAffinity.required.nodeSelectorTerms, volume.metadata.labels
    valued = {e.key for term in terms for e in term.matchExpressions if e.values}
    is_beta = _ZONE not in valued and (
        _BETA_ZONE in valued or (_ZONE not in labels and _BETA_ZONE in labels)
    )
    zone = _BETA_ZONE if is_beta else _ZONE
    zones = {z.strip() for z in labels.get(zone, "").split(_ZONES_DELIMITER) if z.strip()}
    if zone not in valued and zones:
        for term in terms or (terms.add(),):
            term.matchExpressions.add(key=driver_key, operator="In", values=sorted(zones))
    renamed = {zone: driver_key, **({_BETA_REGION: _REGION} if is_beta else {})}
    for term in terms:
        for expression in term.matchExpressions:
            expression.key = renamed.get(expression.key, expression.key)
