"""A Pod's volumes.

Source: pkg/apis/core/validation/validation.go (ValidateVolumes, validateVolumeSource).
"""

from collections.abc import Callable, Iterable
from typing import Any

from apiserver.validation import paths
from apiserver.validation.downward import VOLUME_FIELDS, validate_field_ref, validate_resource_ref
from apiserver.validation.resources import parsed
from podpath.api import names
from podpath.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from protos.k8s.core_v1_pb2 import (
    ConfigMapVolumeSource,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    KeyToPath,
    PersistentVolumeClaimVolumeSource,
    ProjectedVolumeSource,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeSource,
)

_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate",
    "Socket",
)  # fmt: skip
_TOKEN_SECONDS_MIN = 600
_TOKEN_SECONDS_MAX = 1 << 32


def validate_volumes(
    volumes: Iterable[Volume], path: str
) -> tuple[dict[str, VolumeSource], list[FieldError]]:
    """The valid volumes by name, and what is wrong with the others."""
    valid: dict[str, VolumeSource] = {}
    found: list[FieldError] = []
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        problems = _source(volume.volumeSource, here)
        if not volume.name:
            problems.append(required(f"{here}.name"))
        else:
            texts = names.dns_label_problems(volume.name)
            problems += [invalid(f"{here}.name", volume.name, text) for text in texts]
        if volume.name in valid:
            problems.append(duplicate(f"{here}.name", volume.name))
        if not problems:
            valid[volume.name] = volume.volumeSource
        found += problems
    return valid, found


def _source(source: VolumeSource, path: str) -> list[FieldError]:
    given = [field.name for field, _ in source.ListFields()]
    if not given:
        return [required(path, "must specify a volume type")]
    first, *others = sorted(given, key=lambda name: name != "emptyDir")
    rules = _SOURCES.get(first)
    found = rules(getattr(source, first), f"{path}.{first}") if rules is not None else []
    found += [
        forbidden_field(f"{path}.{name}", "may not specify more than 1 volume type")
        for name in others
    ]
    return found


def _empty_dir(source: EmptyDirVolumeSource, path: str) -> list[FieldError]:
    if source.HasField("sizeLimit") and parsed(source.sizeLimit).unscaled < 0:
        detail = "SizeLimit field must be a valid resource quantity"
        return [forbidden_field(f"{path}.sizeLimit", detail)]
    return []


def _host_path(source: HostPathVolumeSource, path: str) -> list[FieldError]:
    if not source.path:
        return [required(f"{path}.path")]
    found = paths.no_backsteps(source.path, f"{path}.path")
    if source.type not in _HOST_PATH_TYPES:
        found.append(not_supported(f"{path}.type", source.type, _HOST_PATH_TYPES))
    return found


def _secret(source: SecretVolumeSource, path: str) -> list[FieldError]:
    found = [] if source.secretName else [required(f"{path}.secretName")]
    return found + _files(source, path)


def _config_map(source: ConfigMapVolumeSource, path: str) -> list[FieldError]:
    found = [] if source.localObjectReference.name else [required(f"{path}.name")]
    return found + _files(source, path)


def _files(source: SecretVolumeSource | ConfigMapVolumeSource, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if source.HasField("defaultMode"):
        found += paths.file_mode(source.defaultMode, f"{path}.defaultMode")
    for index, item in enumerate(source.items):
        found += _key_to_path(item, f"{path}.items[{index}]")
    return found


def _key_to_path(item: KeyToPath, path: str) -> list[FieldError]:
    found = [required(f"{path}.{name}") for name in ("key", "path") if not getattr(item, name)]
    found += paths.not_reserved(item.path, f"{path}.path")
    if item.HasField("mode"):
        found += paths.file_mode(item.mode, f"{path}.mode")
    return found


def _downward_api(source: DownwardAPIVolumeSource, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if source.HasField("defaultMode"):
        found += paths.file_mode(source.defaultMode, f"{path}.defaultMode")
    for item in source.items:
        found += _downward_file(item, path)
    return found


def _downward_file(item: DownwardAPIVolumeFile, path: str) -> list[FieldError]:
    found = [] if item.path else [required(f"{path}.path")]
    found += paths.not_reserved(item.path, f"{path}.path")
    if item.HasField("fieldRef"):
        found += validate_field_ref(item.fieldRef, VOLUME_FIELDS, f"{path}.fieldRef")
        if item.HasField("resourceFieldRef"):
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            found.append(invalid(path, "resource", detail))
    elif item.HasField("resourceFieldRef"):
        here = f"{path}.resourceFieldRef"
        found += validate_resource_ref(item.resourceFieldRef, here, in_volume=True)
    else:
        found.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    if item.HasField("mode"):
        found += paths.file_mode(item.mode, f"{path}.mode")
    return found


def _projected(source: ProjectedVolumeSource, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if source.HasField("defaultMode"):
        found += paths.file_mode(source.defaultMode, f"{path}.defaultMode")
    seen: set[str] = set()
    for index, projection in enumerate(source.sources):
        here = f"{path}.sources[{index}]"
        given = [field.name for field, _ in projection.ListFields()]
        for name in ("secret", "configMap"):
            if name in given:
                found += _projected_files(getattr(projection, name), f"{here}.{name}", path, seen)
        if "downwardAPI" in given:
            for item in projection.downwardAPI.items:
                found += _downward_file(item, f"{here}.downwardAPI")
                found += _unique(item.path, item.path, path, seen)
        if "serviceAccountToken" in given:
            found += _token(projection.serviceAccountToken, here, path)
        if len(given) > 1:
            detail = "may not specify more than 1 volume type per source"
            found.append(forbidden_field(here, detail))
    return found


def _projected_files(source: Any, here: str, path: str, seen: set[str]) -> list[FieldError]:
    """`source` is a SecretProjection or a ConfigMapProjection."""
    name = source.localObjectReference.name
    found = [] if name else [required(f"{here}.name")]
    for index, item in enumerate(source.items):
        found += _key_to_path(item, f"{here}.items[{index}]")
        found += _unique(item.path, name, path, seen)
    return found


def _unique(file_path: str, told: str, path: str, seen: set[str]) -> list[FieldError]:
    if not file_path:
        return []
    if file_path in seen:
        return [invalid(path, told, "conflicting duplicate paths")]
    seen.add(file_path)
    return []


def _token(token: ServiceAccountTokenProjection, here: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seconds = token.expirationSeconds
    at = f"{here}.serviceAccountToken.expirationSeconds"
    if seconds < _TOKEN_SECONDS_MIN:
        found.append(invalid(at, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > _TOKEN_SECONDS_MAX:
        found.append(invalid(at, seconds, "may not specify a duration larger than 2^32 seconds"))
    if not token.path:
        return [*found, required(f"{path}.path")]
    return found + paths.not_reserved(token.path, f"{path}.path")


def _claim(source: PersistentVolumeClaimVolumeSource, path: str) -> list[FieldError]:
    return [] if source.claimName else [required(f"{path}.claimName")]


_SOURCES: dict[str, Callable[[Any, str], list[FieldError]]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward_api,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
}
