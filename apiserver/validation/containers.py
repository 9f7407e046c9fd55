"""Containers: plain ones, init containers, sidecars, ephemeral ones.

Source: pkg/apis/core/validation/validation.go (validateContainers, validateInitContainers,
validateEphemeralContainers, validateContainerCommon).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apiserver.validation.environment import validate_environment
from apiserver.validation.mounts import validate_devices, validate_mounts
from apiserver.validation.probes import validate_lifecycle, validate_probe
from apiserver.validation.resources import validate_requirements
from apiserver.validation.security import validate_security_context
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
    Container,
    ContainerPort,
    EphemeralContainer,
    EphemeralContainerCommon,
    VolumeSource,
)

AnyContainer = Container | EphemeralContainerCommon

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")


@dataclass(frozen=True, slots=True)
class PodContext:
    """What the rules for a container need to know of its Pod."""

    volumes: Mapping[str, VolumeSource]
    restart_policy: str
    grace_s: int
    host_users: bool


def validate_containers(
    containers: Sequence[Container], context: PodContext, path: str
) -> list[FieldError]:
    if not containers:
        return [required(path)]
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        found += _common(container, context, here)
        if container.name in seen:
            found.append(duplicate(f"{here}.name", container.name))
        seen.add(container.name)
        found += _hooks(container, context, here)
        if container.HasField("restartPolicy"):
            detail = "may not be set for non-init containers"
            found.append(forbidden_field(f"{here}.restartPolicy", detail))
    return found + _host_ports(containers, path)


def validate_init_containers(
    containers: Sequence[Container],
    regular: Sequence[Container],
    context: PodContext,
    path: str,
) -> list[FieldError]:
    found: list[FieldError] = []
    seen = {container.name for container in regular}
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        found += _common(container, context, here)
        if container.HasField("restartPolicy") and container.restartPolicy != "Always":
            at = f"{here}.restartPolicy"
            found.append(not_supported(at, container.restartPolicy, ("Always",)))
        if container.name in seen:
            found.append(duplicate(f"{here}.name", container.name))
        elif container.name:
            seen.add(container.name)
        found += _host_ports([container], path)
        if container.restartPolicy == "Always":
            found += _hooks(container, context, here)
        else:
            detail = "may not be set for init containers without restartPolicy=Always"
            found += [
                forbidden_field(f"{here}.{name}", detail)
                for name in ("lifecycle", *_PROBES)
                if container.HasField(name)
            ]
    return found


def validate_ephemeral_containers(
    containers: Sequence[EphemeralContainer],
    others: Sequence[str],
    context: PodContext,
    path: str,
) -> list[FieldError]:
    """`others` are the names of the Pod's other containers."""
    found: list[FieldError] = []
    seen = set(others)
    for index, ephemeral in enumerate(containers):
        here = f"{path}[{index}]"
        container = ephemeral.ephemeralContainerCommon
        found += _common(container, context, here)
        if container.name in seen:
            found.append(duplicate(f"{here}.name", container.name))
        elif container.name:
            seen.add(container.name)
        target = ephemeral.targetContainerName
        if target and target not in others:
            found.append(
                FieldError(
                    "FieldValueNotFound", f"{here}.targetContainerName", f'Not found: "{target}"'
                )
            )
        for name in ("ports", "resources", "lifecycle", *_PROBES):
            if _is_set(container, name):
                detail = "cannot be set for an Ephemeral Container"
                found.append(forbidden_field(f"{here}.{name}", detail))
    return found


def _is_set(container: EphemeralContainerCommon, name: str) -> bool:
    if name == "ports":
        return bool(container.ports)
    if name == "resources":
        return bool(container.resources.limits or container.resources.requests)
    return container.HasField(name)


def _common(container: AnyContainer, context: PodContext, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not container.name:
        found.append(required(f"{path}.name"))
    else:
        texts = names.dns_label_problems(container.name)
        found += [invalid(f"{path}.name", container.name, text) for text in texts]
    if not container.image:
        found.append(required(f"{path}.image"))
    found += _message_policy(container.terminationMessagePolicy, path)
    if container.ports:
        found += _ports(container.ports, f"{path}.ports")
    found += validate_environment(container, path)
    if container.volumeMounts:
        found += validate_mounts(container, context.volumes, f"{path}.volumeMounts")
    if container.volumeDevices:
        found += validate_devices(container, context.volumes, f"{path}.volumeDevices")
    found += _pull_policy(container.imagePullPolicy, f"{path}.imagePullPolicy")
    found += validate_requirements(container.resources, f"{path}.resources")
    found += _resize_policy(container, context.restart_policy, f"{path}.resizePolicy")
    if container.HasField("securityContext"):
        here = f"{path}.securityContext"
        found += validate_security_context(container.securityContext, here, context.host_users)
    return found


def _message_policy(policy: str, path: str) -> list[FieldError]:
    here = f"{path}.terminationMessagePolicy"
    if not policy:
        return [required(here)]
    return [] if policy in _MESSAGE_POLICIES else [not_supported(here, policy, _MESSAGE_POLICIES)]


def _pull_policy(policy: str, path: str) -> list[FieldError]:
    if not policy:
        return [required(path)]
    return [] if policy in _PULL_POLICIES else [not_supported(path, policy, _PULL_POLICIES)]


def _hooks(container: Container, context: PodContext, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if container.HasField("lifecycle"):
        found += validate_lifecycle(container.lifecycle, context.grace_s, f"{path}.lifecycle")
    for name in _PROBES:
        if container.HasField(name):
            probe = getattr(container, name)
            found += validate_probe(probe, name, context.grace_s, f"{path}.{name}")
    return found


def _ports(ports: Sequence[ContainerPort], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if port.name:
            problems = names.port_name_problems(port.name)
            found += [invalid(f"{here}.name", port.name, text) for text in problems]
            if not problems and port.name in seen:
                found.append(duplicate(f"{here}.name", port.name))
            seen.add(port.name)
        if not port.containerPort:
            found.append(required(f"{here}.containerPort"))
        else:
            found += _port_number(port.containerPort, f"{here}.containerPort")
        if port.hostPort:
            found += _port_number(port.hostPort, f"{here}.hostPort")
        if not port.protocol:
            found.append(required(f"{here}.protocol"))
        elif port.protocol not in _PROTOCOLS:
            found.append(not_supported(f"{here}.protocol", port.protocol, _PROTOCOLS))
    return found


def _port_number(number: int, path: str) -> list[FieldError]:
    return [invalid(path, number, text) for text in names.port_number_problems(number)]


def _host_ports(containers: Sequence[Container], path: str) -> list[FieldError]:
    """Two containers cannot have the same port of the node."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for number, port in enumerate(container.ports):
            if not port.hostPort:
                continue
            key = f"{port.protocol}/{port.hostIP}/{port.hostPort}"
            if key in seen:
                found.append(duplicate(f"{path}[{index}].ports[{number}].hostPort", key))
            seen.add(key)
    return found


def _resize_policy(container: AnyContainer, restart_policy: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, policy in enumerate(container.resizePolicy):
        if policy.resourceName in seen:
            found.append(duplicate(f"{path}[{index}]", policy.resourceName))
        seen.add(policy.resourceName)
        if policy.resourceName not in {"cpu", "memory"}:
            found.append(not_supported(path, policy.resourceName, ("cpu", "memory")))
        if policy.restartPolicy not in {"NotRequired", "RestartContainer"}:
            supported = ("NotRequired", "RestartContainer")
            found.append(not_supported(path, policy.restartPolicy, supported))
        if restart_policy == "Never" and policy.restartPolicy == "RestartContainer":
            detail = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            found.append(invalid(path, policy.restartPolicy, detail))
    return found
