"""What containers mount.

Source: pkg/apis/core/validation/validation.go (ValidateVolumeMounts, ValidateVolumeDevices).
"""

from collections.abc import Mapping

from apiserver.validation import paths
from podpath.api.errors import (
    FieldError,
    forbidden_field,
    invalid,
    not_found_field,
    not_supported,
    required,
)
from protos.k8s.core_v1_pb2 import (
    Container,
    EphemeralContainerCommon,
    VolumeDevice,
    VolumeMount,
    VolumeSource,
)

AnyContainer = Container | EphemeralContainerCommon
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def validate_mounts(
    container: AnyContainer, volumes: Mapping[str, VolumeSource], path: str
) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    devices = {device.name: device.devicePath for device in container.volumeDevices}
    for index, mount in enumerate(container.volumeMounts):
        here = f"{path}[{index}]"
        if not mount.name:
            found.append(required(f"{here}.name"))
        if mount.name not in volumes:
            found.append(not_found_field(f"{here}.name", mount.name))
        if not mount.mountPath:
            found.append(required(f"{here}.mountPath"))
        if mount.mountPath in seen:
            found.append(invalid(f"{here}.mountPath", mount.mountPath, "must be unique"))
        seen.add(mount.mountPath)
        if mount.name in devices:
            detail = "must not already exist in volumeDevices"
            found.append(invalid(f"{here}.name", mount.name, detail))
        if mount.mountPath in devices.values():
            detail = "must not already exist as a path in volumeDevices"
            found.append(invalid(f"{here}.mountPath", mount.mountPath, detail))
        found += _sub_paths(mount, here, path)
        if mount.HasField("mountPropagation"):
            found += _propagation(mount.mountPropagation, container, f"{path}.mountPropagation")
        if mount.HasField("recursiveReadOnly"):
            found += _recursive_read_only(mount, f"{path}.recursiveReadOnly")
    return found


def _sub_paths(mount: VolumeMount, here: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if mount.subPath:
        found += paths.descending(mount.subPath, f"{path}.subPath")
    if mount.subPathExpr:
        if mount.subPath:
            detail = "subPathExpr and subPath are mutually exclusive"
            found.append(invalid(f"{here}.subPathExpr", mount.subPathExpr, detail))
        found += paths.descending(mount.subPathExpr, f"{path}.subPathExpr")
    return found


def _propagation(value: str, container: AnyContainer, path: str) -> list[FieldError]:
    found = []
    if value not in _PROPAGATIONS:
        found.append(not_supported(path, value, _PROPAGATIONS))
    if value == "Bidirectional" and not container.securityContext.privileged:
        detail = "Bidirectional mount propagation is available only to privileged containers"
        found.append(forbidden_field(path, detail))
    return found


def _recursive_read_only(mount: VolumeMount, path: str) -> list[FieldError]:
    value = mount.recursiveReadOnly
    if value == "Disabled":
        return []
    if value not in _RECURSIVE:
        return [not_supported(path, value, _RECURSIVE)]
    found = []
    if not mount.readOnly:
        found.append(forbidden_field(path, "may only be specified when readOnly is true"))
    if mount.HasField("mountPropagation") and mount.mountPropagation != "None":
        detail = "may only be specified when mountPropagation is None or not specified"
        found.append(forbidden_field(path, detail))
    return found


def validate_devices(
    container: AnyContainer, volumes: Mapping[str, VolumeSource], path: str
) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, device in enumerate(container.volumeDevices):
        here = f"{path}[{index}]"
        found += _device_name(device, volumes, here)
        if not device.devicePath:
            found.append(required(f"{here}.devicePath"))
        for field, value in (("name", device.name), ("devicePath", device.devicePath)):
            if (field, value) in seen:
                found.append(invalid(f"{here}.{field}", value, "must be unique"))
            seen.add((field, value))
        if ".." in device.devicePath.split("/"):
            detail = "can not contain backsteps ('..')"
            found.append(invalid(f"{here}.devicePath", device.devicePath, detail))
        for mount in container.volumeMounts:
            if mount.name == device.name:
                detail = "must not already exist in volumeMounts"
                found.append(invalid(f"{here}.name", device.name, detail))
            if mount.mountPath == device.devicePath:
                detail = "must not already exist as a path in volumeMounts"
                found.append(invalid(f"{here}.devicePath", device.devicePath, detail))
    return found


def _device_name(
    device: VolumeDevice, volumes: Mapping[str, VolumeSource], path: str
) -> list[FieldError]:
    found = [] if device.name else [required(f"{path}.name")]
    source = volumes.get(device.name)
    if source is None:
        return [*found, not_found_field(f"{path}.name", device.name)]
    if not (source.HasField("persistentVolumeClaim") or source.HasField("ephemeral")):
        detail = (
            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
        )
        found.append(invalid(f"{path}.name", device.name, detail))
    return found
