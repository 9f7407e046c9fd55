"""A Pod's spec -> CRI's sandbox and container configurations. Pure.

Source: pkg/kubelet/kuberuntime/{kuberuntime_sandbox,kuberuntime_container,labels,helpers}.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import orjson

from kubelet import runtime_status as names
from kubelet.dns import Dns, dns_config
from kubelet.environment import ContainerConfigError, expand_references, expander
from kubelet.pod_resources import (
    cgroup_parent,
    container_resources,
    pod_resources,
    qos_class,
)
from kubelet.security_context import set_container_security, set_sandbox_security
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

_LINK_NAME_MAX = 255
HOSTNAME_MAX = 63
CONFIG_SOURCE, CONFIG_SEEN = "kubernetes.io/config.source", "kubernetes.io/config.seen"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What of the node shapes every Pod's configuration."""

    name: str
    pod_logs_dir: str = "/var/log/pods"
    # Symlinks to all containers' logs; empty makes none.
    container_logs_dir: str = ""
    host_ips: tuple[str, ...] = ()
    cpu_capacity: int = 0
    systemd_cgroups: bool = False
    cgroup_root: str = "/"
    memory_capacity: int = 0
    seccomp_dir: str = "/var/lib/kubelet/seccomp"
    dns: Dns = field(default_factory=Dns)


def container_hash(container: core.Container) -> str:
    """Hex hash of what cannot change without a restart: name and image.

    Upstream 1.33 hashes just these (pickFieldsToHash); its FNV is over Go's own dump format,
    so the value differs while the property holds.
    """
    return _hash_of(container.name, container.image)


@lru_cache(maxsize=4096)
def _hash_of(name: str, image: str) -> str:
    return f"{_fnv32a(orjson.dumps([name, image])):x}"


def _fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def container_hashes(pod: core.Pod) -> dict[str, str]:
    """By container name, of the regular containers."""
    return {c.name: container_hash(c) for c in pod.spec.containers}


def pod_log_directory(base: str, pod: core.Pod) -> str:
    meta = pod.metadata
    return f"{base}/{meta.namespace}_{meta.name}_{meta.uid}"


def container_log_link(
    base: str, pod: str, namespace: str, container: str, container_id: str
) -> str:
    """The symlink to a container's log that log collectors look for; "" without a `base`.

    Source: pkg/kubelet/kuberuntime/legacy.go.
    """
    if not base:
        return ""
    name = f"{pod}_{namespace}_{container}-{container_id}"
    return f"{base}/{name[: _LINK_NAME_MAX - len('.log')]}.log"


def hostname_of(pod: core.Pod, cluster_domain: str) -> str:
    """The Pod's host name, cut to 63 characters. Raises: ContainerConfigError for a long FQDN."""
    name = pod.spec.hostname or pod.metadata.name
    short = name[:HOSTNAME_MAX].rstrip("-.")
    if pod.spec.setHostnameAsFQDN and pod.spec.subdomain:
        full = f"{short}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"
        if len(full) > HOSTNAME_MAX + 1:
            raise ContainerConfigError(
                f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} "
                f"is too long ({HOSTNAME_MAX + 1} characters is the max, {len(full)} characters "
                "requested)"
            )
        return full
    return short


def sandbox_config(pod: core.Pod, attempt: int, node: NodeFacts) -> cri.PodSandboxConfig:
    """Raises: ContainerConfigError."""
    meta = pod.metadata
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=meta.name, namespace=meta.namespace, uid=meta.uid, attempt=attempt
        ),
        log_directory=pod_log_directory(node.pod_logs_dir, pod),
        dns_config=dns_config(pod, node.dns),
        labels=dict(meta.labels) | _pod_labels(pod),
        annotations=dict(meta.annotations) | {CONFIG_SOURCE: "api"},
    )
    if not pod.spec.hostNetwork:
        config.hostname = hostname_of(pod, node.dns.cluster_domain)
    for container in (*pod.spec.initContainers, *pod.spec.containers):
        for port in container.ports:
            if port.hostPort:
                config.port_mappings.add(
                    protocol=cri.Protocol.Value(port.protocol or "TCP"),
                    container_port=port.containerPort,
                    host_port=port.hostPort,
                    host_ip=port.hostIP,
                )
    linux = config.linux
    linux.cgroup_parent = cgroup_parent(
        meta.uid, qos_class(pod), systemd=node.systemd_cgroups, root=node.cgroup_root
    )
    linux.resources.CopyFrom(pod_resources(pod))
    set_sandbox_security(linux, pod)
    return config


def _pod_labels(pod: core.Pod) -> dict[str, str]:
    meta = pod.metadata
    return {
        names.POD_NAME_LABEL: meta.name,
        names.POD_NAMESPACE_LABEL: meta.namespace,
        names.POD_UID_LABEL: meta.uid,
    }


@dataclass(frozen=True, slots=True)
class ContainerInput:
    """What a container's configuration follows from besides the Pod and the node."""

    container: core.Container
    attempt: int
    image: cri.Image
    environment: Mapping[str, str]
    mounts: Sequence[cri.Mount] = ()
    target_id: str = ""


def container_config(pod: core.Pod, given: ContainerInput, node: NodeFacts) -> cri.ContainerConfig:
    """Raises: ContainerConfigError."""
    container = given.container
    expand = expander(given.environment)
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=container.name, attempt=given.attempt),
        image=cri.ImageSpec(
            image=given.image.id or container.image, user_specified_image=container.image
        ),
        command=[expand_references(text, expand) for text in container.command],
        args=[expand_references(text, expand) for text in container.args],
        working_dir=container.workingDir,
        envs=[cri.KeyValue(key=k, value=v) for k, v in given.environment.items()],
        mounts=given.mounts,
        log_path=f"{container.name}/{given.attempt}.log",
        stdin=container.stdin,
        stdin_once=container.stdinOnce,
        tty=container.tty,
        labels=_pod_labels(pod) | {names.CONTAINER_NAME_LABEL: container.name},
        annotations=_container_annotations(pod, container, given.attempt),
    )
    qos = qos_class(pod)
    config.linux.resources.CopyFrom(container_resources(pod, container, qos, node.memory_capacity))
    set_container_security(
        config.linux.security_context,
        pod,
        container,
        given.image,
        target_id=given.target_id,
        seccomp_dir=node.seccomp_dir,
    )
    stop_signal = container.lifecycle.stopSignal
    if stop_signal:
        config.stop_signal = cri.Signal.Value(stop_signal)  # type: ignore[assignment]
    return config


def _container_annotations(
    pod: core.Pod, container: core.Container, attempt: int
) -> dict[str, str]:
    result = {
        names.HASH_ANNOTATION: container_hash(container),
        names.RESTART_COUNT_ANNOTATION: str(attempt),
        names.TERMINATION_PATH_ANNOTATION: container.terminationMessagePath,
        names.TERMINATION_POLICY_ANNOTATION: container.terminationMessagePolicy,
    }
    meta, spec = pod.metadata, pod.spec
    if meta.HasField("deletionGracePeriodSeconds"):
        result[names.POD_DELETION_GRACE_ANNOTATION] = str(meta.deletionGracePeriodSeconds)
    if spec.HasField("terminationGracePeriodSeconds"):
        result[names.POD_TERMINATION_GRACE_ANNOTATION] = str(spec.terminationGracePeriodSeconds)
    if container.lifecycle.HasField("preStop"):
        result[names.PRE_STOP_ANNOTATION] = orjson.dumps(
            handler_json(container.lifecycle.preStop)
        ).decode()
    if container.ports:
        result[names.PORTS_ANNOTATION] = orjson.dumps(
            [_port_json(port) for port in container.ports]
        ).decode()
    return result


def _port_json(port: core.ContainerPort) -> dict[str, object]:
    tree: dict[str, object] = {"containerPort": port.containerPort}
    if port.name:
        tree["name"] = port.name
    if port.hostPort:
        tree["hostPort"] = port.hostPort
    if port.protocol:
        tree["protocol"] = port.protocol
    if port.hostIP:
        tree["hostIP"] = port.hostIP
    return tree


def handler_json(handler: core.LifecycleHandler) -> dict[str, object]:
    """A lifecycle handler as JSON has it."""
    if handler.HasField("exec"):
        return {"exec": {"command": list(handler.exec.command)}}
    if handler.HasField("httpGet"):
        get = handler.httpGet
        port: object = get.port.strVal if get.port.type else get.port.intVal
        tree: dict[str, object] = {"path": get.path, "port": port, "scheme": get.scheme or "HTTP"}
        if get.host:
            tree["host"] = get.host
        return {"httpGet": tree}
    if handler.HasField("sleep"):
        return {"sleep": {"seconds": handler.sleep.seconds}}
    return {}
