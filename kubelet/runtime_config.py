"""A Pod's spec -> CRI's sandbox and container configurations. Pure.

Source: pkg/kubelet/kuberuntime/{kuberuntime_sandbox,kuberuntime_container,labels,security_context,
helpers}.go, pkg/kubelet/network/dns/dns.go.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import orjson

from kubelet import runtime_status as names
from kubelet.environment import ContainerConfigError, expand_references, expander
from kubelet.pod_resources import (
    cgroup_parent,
    container_resources,
    pod_resources,
    qos_class,
)
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

HOSTNAME_MAX = 63
CONFIG_SOURCE, CONFIG_SEEN = "kubernetes.io/config.source", "kubernetes.io/config.seen"

_MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_SECCOMP = cri.SecurityProfile


@dataclass(frozen=True, slots=True)
class Dns:
    """The node's name resolution: the host's own and the cluster's."""

    cluster_servers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    host_servers: tuple[str, ...] = ()
    host_searches: tuple[str, ...] = ()
    host_options: tuple[str, ...] = ()


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


def dns_config(pod: core.Pod, dns: Dns) -> cri.DNSConfig:
    """resolv.conf by dnsPolicy, dnsConfig merged in; at most 3 servers and 32 searches."""
    if not pod.spec.HasField("dnsConfig"):
        policy = pod.spec.dnsPolicy or "ClusterFirst"
        return _plain_dns(policy, pod.spec.hostNetwork, pod.metadata.namespace, dns)
    return _dns(pod, dns)


@lru_cache(maxsize=1024)
def _plain_dns(policy: str, host_network: bool, namespace: str, dns: Dns) -> cri.DNSConfig:
    """Without a dnsConfig, most Pods of a namespace have the same. Shared: read-only."""
    pod = core.Pod()
    pod.metadata.namespace = namespace
    pod.spec.dnsPolicy, pod.spec.hostNetwork = policy, host_network
    return _dns(pod, dns)


def _dns(pod: core.Pod, dns: Dns) -> cri.DNSConfig:
    policy = pod.spec.dnsPolicy or "ClusterFirst"
    servers = list(dns.host_servers)
    searches = list(dns.host_searches)
    options = list(dns.host_options)
    cluster = policy == "ClusterFirstWithHostNet" or (
        policy == "ClusterFirst" and not pod.spec.hostNetwork
    )
    if policy == "None":
        servers, searches, options = [], [], []
    elif cluster and dns.cluster_servers:
        domain = dns.cluster_domain
        own = [f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain]
        servers = list(dns.cluster_servers)
        searches = own + [s for s in searches if s not in own]
        options = ["ndots:5"]
    extra = pod.spec.dnsConfig
    servers = list(dict.fromkeys([*servers, *extra.nameservers]))[:3]
    searches = list(dict.fromkeys([*searches, *extra.searches]))[:32]
    by_name = {o.partition(":")[0]: o for o in options}
    for option in extra.options:
        text = f"{option.name}:{option.value}" if option.value else option.name
        by_name[option.name] = text
    return cri.DNSConfig(servers=servers, searches=searches, options=list(by_name.values()))


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
    _sandbox_security(pod, linux)
    return config


def _pod_labels(pod: core.Pod) -> dict[str, str]:
    meta = pod.metadata
    return {
        names.POD_NAME_LABEL: meta.name,
        names.POD_NAMESPACE_LABEL: meta.namespace,
        names.POD_UID_LABEL: meta.uid,
    }


def namespace_options(pod: core.Pod) -> cri.NamespaceOption:
    spec = pod.spec
    pid = cri.CONTAINER
    if spec.hostPID:
        pid = cri.NODE
    elif spec.shareProcessNamespace:
        pid = cri.POD
    return cri.NamespaceOption(
        network=cri.NODE if spec.hostNetwork else cri.POD,
        ipc=cri.NODE if spec.hostIPC else cri.POD,
        pid=pid,
    )


def _sandbox_security(pod: core.Pod, linux: cri.LinuxPodSandboxConfig) -> None:
    security = linux.security_context
    security.namespace_options.CopyFrom(namespace_options(pod))
    security.privileged = any(
        c.securityContext.privileged for c in (*pod.spec.containers, *pod.spec.initContainers)
    )
    security.seccomp.profile_type = _SECCOMP.RuntimeDefault
    context = pod.spec.securityContext
    if context.HasField("runAsUser"):
        security.run_as_user.value = context.runAsUser
    if context.HasField("runAsGroup"):
        security.run_as_group.value = context.runAsGroup
    groups = list(context.supplementalGroups)
    if context.HasField("fsGroup"):
        groups.append(context.fsGroup)
    security.supplemental_groups.extend(groups)
    if context.supplementalGroupsPolicy == "Strict":
        security.supplemental_groups_policy = cri.Strict
    for sysctl in context.sysctls:
        linux.sysctls[sysctl.name] = sysctl.value


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
    _container_security(pod, given, node, config.linux.security_context)
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


def _container_security(
    pod: core.Pod,
    given: ContainerInput,
    node: NodeFacts,
    security: cri.LinuxContainerSecurityContext,
) -> None:
    own, shared = given.container.securityContext, pod.spec.securityContext
    security.privileged = own.privileged
    security.readonly_rootfs = own.readOnlyRootFilesystem
    security.namespace_options.CopyFrom(namespace_options(pod))
    if given.target_id:
        security.namespace_options.pid = cri.TARGET
        security.namespace_options.target_id = given.target_id
    security.capabilities.add_capabilities.extend(own.capabilities.add)
    security.capabilities.drop_capabilities.extend(own.capabilities.drop)
    security.no_new_privs = (
        own.HasField("allowPrivilegeEscalation") and not own.allowPrivilegeEscalation
    )
    _set_user(own, shared, given, security)
    groups = list(shared.supplementalGroups)
    if shared.HasField("fsGroup"):
        groups.append(shared.fsGroup)
    security.supplemental_groups.extend(groups)
    if shared.supplementalGroupsPolicy == "Strict":
        security.supplemental_groups_policy = cri.Strict
    if not own.privileged and own.procMount != "Unmasked":
        security.masked_paths.extend(_MASKED_PATHS)
        security.readonly_paths.extend(_READONLY_PATHS)
    profile = own.seccompProfile if own.HasField("seccompProfile") else shared.seccompProfile
    security.seccomp.CopyFrom(_seccomp(profile, node, privileged=own.privileged))
    if own.HasField("appArmorProfile") or shared.HasField("appArmorProfile"):
        armor = own.appArmorProfile if own.HasField("appArmorProfile") else shared.appArmorProfile
        security.apparmor.profile_type = _SECCOMP.ProfileType.Value(armor.type)  # type: ignore[assignment]
        security.apparmor.localhost_ref = armor.localhostProfile


def _set_user(
    own: core.SecurityContext,
    shared: core.PodSecurityContext,
    given: ContainerInput,
    security: cri.LinuxContainerSecurityContext,
) -> None:
    user = None
    if own.HasField("runAsUser"):
        user = own.runAsUser
    elif shared.HasField("runAsUser"):
        user = shared.runAsUser
    non_root = own.runAsNonRoot if own.HasField("runAsNonRoot") else shared.runAsNonRoot
    if non_root:
        _verify_non_root(user, given)
    if user is not None:
        security.run_as_user.value = user
    elif given.image.HasField("uid"):
        security.run_as_user.value = given.image.uid.value
    elif given.image.username:
        security.run_as_username = given.image.username
    if own.HasField("runAsGroup"):
        security.run_as_group.value = own.runAsGroup
    elif shared.HasField("runAsGroup"):
        security.run_as_group.value = shared.runAsGroup


def _verify_non_root(user: int | None, given: ContainerInput) -> None:
    name = given.container.name
    if user == 0:
        raise ContainerConfigError(
            f"container's runAsUser breaks non-root policy (container: {name})"
        )
    if user is not None:
        return
    if given.image.username:
        raise ContainerConfigError(
            f"container has runAsNonRoot and image has non-numeric user "
            f"({given.image.username}), cannot verify user is non-root (container: {name})"
        )
    if not given.image.HasField("uid") or given.image.uid.value == 0:
        raise ContainerConfigError(
            f"container has runAsNonRoot and image will run as root (container: {name})"
        )


def _seccomp(
    profile: core.SeccompProfile, node: NodeFacts, *, privileged: bool
) -> cri.SecurityProfile:
    if privileged or not profile.type or profile.type == "Unconfined":
        return cri.SecurityProfile(profile_type=_SECCOMP.Unconfined)
    if profile.type == "Localhost":
        path = f"{node.seccomp_dir}/{profile.localhostProfile}"
        return cri.SecurityProfile(profile_type=_SECCOMP.Localhost, localhost_ref=path)
    return cri.SecurityProfile(profile_type=_SECCOMP.RuntimeDefault)


_NAMESERVER = re.compile(r"^\s*nameserver\s+(\S+)", re.MULTILINE)
_SEARCH = re.compile(r"^\s*search\s+(.+)$", re.MULTILINE)
_OPTIONS = re.compile(r"^\s*options\s+(.+)$", re.MULTILINE)


def parse_resolv_conf(text: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(nameservers, searches, options) of a resolv.conf; the last line of a kind counts."""
    searches = _SEARCH.findall(text)
    options = _OPTIONS.findall(text)
    return (
        tuple(_NAMESERVER.findall(text)),
        tuple(searches[-1].split()) if searches else (),
        tuple(options[-1].split()) if options else (),
    )
