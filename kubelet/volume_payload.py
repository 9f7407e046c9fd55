"""What the files of a configMap, secret, downwardAPI or projected volume hold. Pure.

Source: pkg/volume/{configmap,secret,downwardapi,projected}, pkg/volume/util/atomic_writer.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubelet.environment import EnvironmentInput, pod_field, resource_field
from protos.k8s import core_v1_pb2 as core

DEFAULT_MODE = 0o644
DEFAULT_TOKEN_EXPIRATION_S = 3600


class VolumeError(Exception):
    """The volume cannot be set up; the message is for the FailedMount event."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file's bytes and permission bits."""

    data: bytes
    mode: int


Payload = dict[str, FileContent]


@dataclass(frozen=True, slots=True, order=True)
class TokenNeed:
    """A service account token that a projected volume asks for."""

    audience: str
    expiration_s: int


@dataclass(frozen=True, slots=True)
class VolumeObjects:
    """What was looked up: absent names are missing objects. Tokens by what was asked."""

    config_maps: Mapping[str, core.ConfigMap] = field(default_factory=dict)
    secrets: Mapping[str, core.Secret] = field(default_factory=dict)
    tokens: Mapping[TokenNeed, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VolumeNeeds:
    """Names of the ConfigMaps and Secrets, and the tokens, that volumes are made from."""

    config_maps: frozenset[str]
    secrets: frozenset[str]
    tokens: frozenset[TokenNeed]


def needs_of(volumes: Iterable[core.Volume]) -> VolumeNeeds:
    config_maps: set[str] = set()
    secrets: set[str] = set()
    tokens: set[TokenNeed] = set()
    for volume in volumes:
        source = volume.volumeSource
        if source.HasField("configMap"):
            config_maps.add(source.configMap.localObjectReference.name)
        elif source.HasField("secret"):
            secrets.add(source.secret.secretName)
        elif source.HasField("projected"):
            for projection in source.projected.sources:
                if projection.HasField("configMap"):
                    config_maps.add(projection.configMap.localObjectReference.name)
                elif projection.HasField("secret"):
                    secrets.add(projection.secret.localObjectReference.name)
                elif projection.HasField("serviceAccountToken"):
                    tokens.add(_token_need(projection.serviceAccountToken))
    return VolumeNeeds(frozenset(config_maps), frozenset(secrets), frozenset(tokens))


def _token_need(projection: core.ServiceAccountTokenProjection) -> TokenNeed:
    return TokenNeed(
        projection.audience, projection.expirationSeconds or DEFAULT_TOKEN_EXPIRATION_S
    )


def payload_of(
    volume: core.Volume, objects: VolumeObjects, given: EnvironmentInput
) -> Payload | None:
    """The files by relative path; None for volumes that are not made of files.

    Raises: VolumeError, ContainerConfigError (an unknown field path).
    """
    source = volume.volumeSource
    if source.HasField("configMap"):
        mode = _mode(source.configMap)
        reference = source.configMap
        name = reference.localObjectReference.name
        return _config_map(name, reference, objects, given, mode)
    if source.HasField("secret"):
        return _secret(
            source.secret.secretName, source.secret, objects, given, _mode(source.secret)
        )
    if source.HasField("downwardAPI"):
        return _downward(source.downwardAPI.items, given, _mode(source.downwardAPI))
    if source.HasField("projected"):
        return _projected(source.projected, objects, given)
    return None


def _mode(source: object) -> int:
    has = source.HasField("defaultMode")  # type: ignore[attr-defined]
    return int(source.defaultMode) if has else DEFAULT_MODE  # type: ignore[attr-defined]


def _projected(
    source: core.ProjectedVolumeSource, objects: VolumeObjects, given: EnvironmentInput
) -> Payload:
    mode = _mode(source)
    payload: Payload = {}
    for projection in source.sources:
        if projection.HasField("configMap"):
            part = projection.configMap
            name = part.localObjectReference.name
            payload |= _config_map(name, part, objects, given, mode)
        elif projection.HasField("secret"):
            secret = projection.secret
            payload |= _secret(secret.localObjectReference.name, secret, objects, given, mode)
        elif projection.HasField("downwardAPI"):
            payload |= _downward(projection.downwardAPI.items, given, mode)
        elif projection.HasField("serviceAccountToken"):
            token = projection.serviceAccountToken
            text = objects.tokens[_token_need(token)]
            # Readable by the Pod's group alone when there is one, as upstream narrows it.
            narrowed = 0o600 if given.pod.spec.securityContext.HasField("fsGroup") else mode
            payload[token.path] = FileContent(text.encode(), narrowed)
        else:
            raise VolumeError("a clusterTrustBundle projection is not supported")
    return payload


def _config_map(
    name: str,
    reference: core.ConfigMapVolumeSource | core.ConfigMapProjection,
    objects: VolumeObjects,
    given: EnvironmentInput,
    mode: int,
) -> Payload:
    found = objects.config_maps.get(name)
    if found is None:
        if reference.optional:
            return {}
        raise VolumeError(f'configmap "{name}" not found')
    data = {key: text.encode() for key, text in found.data.items()} | dict(found.binaryData)
    where = "configmap references non-existent config key: {}"
    return _choose(data, reference.items, mode, where, optional=reference.optional)


def _secret(
    name: str,
    reference: core.SecretVolumeSource | core.SecretProjection,
    objects: VolumeObjects,
    given: EnvironmentInput,
    mode: int,
) -> Payload:
    found = objects.secrets.get(name)
    if found is None:
        if reference.optional:
            return {}
        raise VolumeError(f'secret "{name}" not found')
    where = "references non-existent secret key: {}"
    return _choose(dict(found.data), reference.items, mode, where, optional=reference.optional)


def _choose(
    data: Mapping[str, bytes],
    items: Iterable[core.KeyToPath],
    mode: int,
    complaint: str,
    *,
    optional: bool,
) -> Payload:
    items = list(items)
    if not items:
        return {key: FileContent(value, mode) for key, value in data.items()}
    payload: Payload = {}
    for item in items:
        if item.key not in data:
            if optional:
                continue
            raise VolumeError(complaint.format(item.key))
        own = item.mode if item.HasField("mode") else mode
        payload[item.path] = FileContent(data[item.key], own)
    return payload


def _downward(
    items: Iterable[core.DownwardAPIVolumeFile], given: EnvironmentInput, mode: int
) -> Payload:
    payload: Payload = {}
    for item in items:
        if item.HasField("fieldRef"):
            text = pod_field(given, item.fieldRef.fieldPath)
        else:
            text = resource_field(given, item.resourceFieldRef, None)
        own = item.mode if item.HasField("mode") else mode
        payload[item.path] = FileContent(text.encode(), own)
    return payload
