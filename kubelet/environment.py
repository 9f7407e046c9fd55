"""A container's environment variables. Pure: what they refer to is looked up beforehand.

Source: pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables), third_party/forked/golang/expansion,
pkg/kubelet/envvars, pkg/fieldpath, pkg/api/v1/resource/helpers.go.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kubelet.pod_resources import milli, whole
from podpath.api import names, quantity
from protos.k8s import core_v1_pb2 as core

_KEYED = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


class ContainerConfigError(Exception):
    """The container cannot be configured: CreateContainerConfigError with this message."""


@dataclass(frozen=True, slots=True)
class EnvironmentInput:
    """What the variables may refer to. Absent ConfigMaps and Secrets are missing keys."""

    pod: core.Pod
    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    services: tuple[core.Service, ...] = ()
    config_maps: Mapping[str, core.ConfigMap] = field(default_factory=dict)
    secrets: Mapping[str, core.Secret] = field(default_factory=dict)
    # Allocatable of the node, for resource fields without a limit: millicores and bytes.
    node_cpu: int = 0
    node_memory: int = 0


def references(container: core.Container) -> tuple[set[str], set[str]]:
    """Names of the ConfigMaps and of the Secrets that the container's variables need."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for source in container.envFrom:
        if source.HasField("configMapRef"):
            config_maps.add(source.configMapRef.localObjectReference.name)
        if source.HasField("secretRef"):
            secrets.add(source.secretRef.localObjectReference.name)
    for variable in container.env:
        if variable.valueFrom.HasField("configMapKeyRef"):
            config_maps.add(variable.valueFrom.configMapKeyRef.localObjectReference.name)
        if variable.valueFrom.HasField("secretKeyRef"):
            secrets.add(variable.valueFrom.secretKeyRef.localObjectReference.name)
    return config_maps, secrets


def environment(container: core.Container, given: EnvironmentInput) -> dict[str, str]:
    """Name -> value. Order of precedence: env, envFrom, services.

    Raises: ContainerConfigError.
    """
    services = service_variables(given.pod, given.services)
    result: dict[str, str] = {}
    for source in container.envFrom:
        result.update(_from_source(source, given))
    expand = _mapping(result, services)
    for variable in container.env:
        if variable.HasField("valueFrom"):
            value = _value_from(variable, container, given)
            if value is None:
                continue
        else:
            value = expand_references(variable.value, expand)
        result[variable.name] = value
    for name, value in services.items():
        result.setdefault(name, value)
    return result


def _mapping(first: Mapping[str, str], second: Mapping[str, str]) -> Callable[[str], str]:
    def look_up(name: str) -> str:
        if name in first:
            return first[name]
        return second.get(name, f"$({name})")

    return look_up


def expand_references(text: str, look_up: Callable[[str], str]) -> str:
    """Replaces `$(NAME)`; `$$(NAME)` stays as `$(NAME)`, unclosed references stay as they are."""
    if "$" not in text:
        return text
    parts: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
        parts.append(text[at:dollar])
        following = text[dollar + 1]
        end = text.find(")", dollar + 2) if following == "(" else -1
        if following == "$":
            parts.append("$")
            at = dollar + 2
        elif end >= 0:
            parts.append(look_up(text[dollar + 2 : end]))
            at = end + 1
        else:
            parts.append("$" + following)
            at = dollar + 2
    parts.append(text[at:])
    return "".join(parts)


def expander(values: Mapping[str, str]) -> Callable[[str], str]:
    """For command, args and subPathExpr: unknown names stay as they are written."""
    return _mapping(values, {})


def _from_source(source: core.EnvFromSource, given: EnvironmentInput) -> dict[str, str]:
    namespace = given.pod.metadata.namespace
    if source.HasField("configMapRef"):
        reference = source.configMapRef
        config_map = given.config_maps.get(reference.localObjectReference.name)
        if config_map is None:
            if reference.optional:
                return {}
            raise ContainerConfigError(
                f'configmap "{reference.localObjectReference.name}" not found'
            )
        data: Iterable[tuple[str, str]] = config_map.data.items()
    elif source.HasField("secretRef"):
        secret_reference = source.secretRef
        secret = given.secrets.get(secret_reference.localObjectReference.name)
        if secret is None:
            if secret_reference.optional:
                return {}
            raise ContainerConfigError(
                f'secret "{secret_reference.localObjectReference.name}" not found'
            )
        data = ((k, v.decode("utf-8", "replace")) for k, v in secret.data.items())
    else:
        raise ContainerConfigError(f"envFrom of a pod in {namespace} names no source")
    prefixed = {source.prefix + key: value for key, value in data}
    return {key: value for key, value in prefixed.items() if not names.env_name_problems(key)}


def _value_from(
    variable: core.EnvVar, container: core.Container, given: EnvironmentInput
) -> str | None:
    """None leaves the variable out: an optional key that is not there."""
    source = variable.valueFrom
    if source.HasField("fieldRef"):
        return pod_field(given, source.fieldRef.fieldPath)
    if source.HasField("resourceFieldRef"):
        return resource_field(given, source.resourceFieldRef, container)
    if source.HasField("configMapKeyRef"):
        reference = source.configMapKeyRef
        name = reference.localObjectReference.name
        config_map = given.config_maps.get(name)
        data = None if config_map is None else config_map.data
        return _keyed("ConfigMap", name, data, reference.key, given, reference.optional)
    if source.HasField("secretKeyRef"):
        secret_reference = source.secretKeyRef
        name = secret_reference.localObjectReference.name
        secret = given.secrets.get(name)
        texts = None
        if secret is not None:
            texts = {key: value.decode("utf-8", "replace") for key, value in secret.data.items()}
        return _keyed("Secret", name, texts, secret_reference.key, given, secret_reference.optional)
    raise ContainerConfigError(f"variable {variable.name} names no source")


def _keyed(
    kind: str,
    name: str,
    data: Mapping[str, str] | None,
    key: str,
    given: EnvironmentInput,
    optional: bool,
) -> str | None:
    if data is not None and key in data:
        return data[key]
    if optional:
        return None
    if data is None:
        raise ContainerConfigError(f'{kind.lower()} "{name}" not found')
    namespace = given.pod.metadata.namespace
    raise ContainerConfigError(f"couldn't find key {key} in {kind} {namespace}/{name}")


def pod_field(given: EnvironmentInput, path: str) -> str:
    """The downward API's value of a field of the Pod. Raises: ContainerConfigError."""
    pod = given.pod
    meta = pod.metadata
    keyed = _KEYED.fullmatch(path)
    if keyed is not None:
        source = meta.labels if keyed[1] == "labels" else meta.annotations
        return source.get(keyed[2], "")
    ips = given.pod_ips or (given.host_ips if pod.spec.hostNetwork else ())
    simple: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: meta.name,
        "metadata.namespace": lambda: meta.namespace,
        "metadata.uid": lambda: meta.uid,
        "metadata.labels": lambda: format_map(meta.labels),
        "metadata.annotations": lambda: format_map(meta.annotations),
        "spec.nodeName": lambda: pod.spec.nodeName,
        "spec.serviceAccountName": lambda: pod.spec.serviceAccountName,
        "status.podIP": lambda: ips[0] if ips else "",
        "status.podIPs": lambda: ",".join(ips),
        "status.hostIP": lambda: given.host_ips[0] if given.host_ips else "",
        "status.hostIPs": lambda: ",".join(given.host_ips),
    }
    if path not in simple:
        raise ContainerConfigError(f"unsupported fieldPath: {path}")
    return simple[path]()


def format_map(values: Mapping[str, str]) -> str:
    """`key="value"` lines, sorted."""
    return "\n".join(f'{key}="{_escape(values[key])}"' for key in sorted(values))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(
    given: EnvironmentInput, selector: core.ResourceFieldSelector, container: core.Container | None
) -> str:
    """A container's request or limit in units of the divisor, rounded up."""
    if selector.containerName:
        everyone = (*given.pod.spec.containers, *given.pod.spec.initContainers)
        container = next((c for c in everyone if c.name == selector.containerName), None)
    if container is None:
        raise ContainerConfigError(f"container {selector.containerName} not found")
    kind, _, name = selector.resource.partition(".")
    if kind not in ("limits", "requests"):
        raise ContainerConfigError(f"unsupported container resource : {selector.resource}")
    amounts = container.resources.limits if kind == "limits" else container.resources.requests
    divisor = quantity.parse(selector.divisor.string or "1")
    if name == "cpu":
        amount = milli(amounts, name) or (given.node_cpu if kind == "limits" else 0)
        return str(_divide_up(amount, divisor.milli_value() or 1000))
    amount = whole(amounts, name)
    if name == "memory" and not amount and kind == "limits":
        amount = given.node_memory
    return str(_divide_up(amount, divisor.value() or 1))


def _divide_up(number: int, divisor: int) -> int:
    return -(-number // divisor)


def service_variables(pod: core.Pod, services: Iterable[core.Service]) -> dict[str, str]:
    """`NAME_SERVICE_HOST` and Docker's link variables, of the Pod's namespace and `kubernetes`."""
    own = pod.metadata.namespace
    links = pod.spec.enableServiceLinks if pod.spec.HasField("enableServiceLinks") else True
    chosen: dict[str, core.Service] = {}
    for service in services:
        if service.spec.clusterIP in ("", "None"):
            continue
        meta = service.metadata
        if meta.namespace == "default" and meta.name == "kubernetes":
            chosen.setdefault(meta.name, service)
        elif meta.namespace == own and links:
            chosen[meta.name] = service
    result: dict[str, str] = {}
    for name, service in chosen.items():
        result.update(_of_service(name, service))
    return result


def _of_service(name: str, service: core.Service) -> dict[str, str]:
    if not service.spec.ports:
        return {}
    prefix = name.upper().replace("-", "_")
    host = service.spec.clusterIP
    quoted = f"[{host}]" if ":" in host else host
    first = service.spec.ports[0]
    result = {f"{prefix}_SERVICE_HOST": host, f"{prefix}_SERVICE_PORT": str(first.port)}
    for port in service.spec.ports:
        if port.name:
            result[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
    for index, port in enumerate(service.spec.ports):
        protocol = (port.protocol or "TCP").upper()
        url = f"{protocol.lower()}://{quoted}:{port.port}"
        if index == 0:
            result[f"{prefix}_PORT"] = url
        link = f"{prefix}_PORT_{port.port}_{protocol}"
        result[link] = url
        result[f"{link}_PROTO"] = protocol.lower()
        result[f"{link}_PORT"] = str(port.port)
        result[f"{link}_ADDR"] = host
    return result
