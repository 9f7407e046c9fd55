"""CRI's container config to the changes of an OCI spec that `oci_runtime.apply` makes. Pure.

Source: containerd internal/cri/server/container_create_linux.go (which field means what).
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backends import nerdctl_security
from runtime_shim.backends.oci_runtime import Spec
from runtime_shim.errors import Code, CriError, invalid, unimplemented
from runtime_shim.node_facts import Device, NodeFacts

ALL_DEVICES = [{"allow": True, "access": "rwm"}]
_PROPAGATION = {
    cri.PROPAGATION_PRIVATE: "rprivate",
    cri.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    cri.PROPAGATION_BIDIRECTIONAL: "rshared",
}


@dataclass(frozen=True, slots=True)
class SandboxPaths:
    """The sandbox's files that its containers share; "" = the node's own."""

    network: str
    ipc: str
    uts: str
    pid: str
    shm: str
    resolv_conf: str
    hosts: str
    hostname: str


@dataclass(frozen=True, slots=True)
class Request:
    """All that an edit is made from."""

    config: cri.ContainerConfig
    sandbox: cri.PodSandboxConfig
    paths: SandboxPaths
    facts: NodeFacts
    cgroup_path: str
    target_pid: str  # of NamespaceMode.TARGET: /proc/PID/ns/pid
    seccomp: Spec | None  # of a Localhost profile


def edits(request: Request) -> Spec:
    """The changes. Raises: CriError for what this node or backend cannot do."""
    config, facts = request.config, request.facts
    context = config.linux.security_context
    _refuse(config, facts)
    privileged = context.privileged
    changes: Spec = {
        "readonly_root": context.readonly_rootfs,
        "env": [f"{e.key}={e.value}" for e in config.envs],
        "tty": config.tty,
        "stdin": config.stdin,
        "groups": list(context.supplemental_groups),
        "merge_groups": context.supplemental_groups_policy == cri.Merge,
        "namespaces": _namespaces(request),
        "process": _process(request),
        "linux": {"cgroupsPath": request.cgroup_path},
        "linux_absent": [],
        "resources": resources(config.linux.resources, facts),
        "all_devices": privileged,
        "mounts": _mounts(request),
        "mounts_absent": [],
        "writable_mounts": ["/sys", "/sys/fs/cgroup"] if privileged else [],
    }
    if config.tty:
        changes["env"].insert(0, "TERM=xterm")
    _paths_in_proc(changes, context)
    _seccomp(changes, request)
    _devices(changes, request)
    propagations = {m.propagation for m in config.mounts}
    if cri.PROPAGATION_BIDIRECTIONAL in propagations:
        changes["linux"]["rootfsPropagation"] = "rshared"
    elif cri.PROPAGATION_HOST_TO_CONTAINER in propagations:
        changes["linux"]["rootfsPropagation"] = "rslave"
    return changes


def ignored(config: cri.ContainerConfig, facts: NodeFacts) -> dict[str, str]:
    """The fields that are set and have no effect on this node, with the reason."""
    found = ignored_resources(config.linux.resources, facts)
    if config.image.annotations:
        found["config.image.annotations"] = "nerdctl passes none on"
    if facts.selinux and any(mount.selinux_relabel for mount in config.mounts):
        found["config.mounts.selinux_relabel"] = "mounts are not labelled"
    return found


def ignored_resources(
    given: cri.LinuxContainerResources, facts: NodeFacts, *, running: bool = False
) -> dict[str, str]:
    """The same of resources alone. `running`: they are to change in a running container."""
    found: dict[str, str] = {}
    for name in ("oom_score_adj", "hugepage_limits"):
        if running and getattr(given, name):
            found[f"resources.{name}"] = "runc does not change it in a running container"
    if given.oom_score_adj < 0 and not facts.can_lower_oom_score:
        found["resources.oom_score_adj"] = "this node cannot lower it (CAP_SYS_RESOURCE)"
    if given.memory_swap_limit_in_bytes and not facts.memory_swap:
        found["resources.memory_swap_limit_in_bytes"] = "this node does not account for swap"
    if given.hugepage_limits and not facts.hugetlb:
        found["resources.hugepage_limits"] = "this node has no hugetlb cgroup"
    return found


def pause_edits(paths: SandboxPaths, cgroup_path: str) -> Spec:
    """For the process that holds a shared PID namespace: it may do nothing."""
    return {
        "readonly_root": True,
        "env": [],
        "tty": False,
        "stdin": False,
        "groups": [],
        "merge_groups": True,
        "namespaces": _spaces(paths) | {"pid": ""},
        "process": {"noNewPrivileges": True, "capabilities": {}},
        "linux": {"cgroupsPath": cgroup_path},
        "linux_absent": [],
        "resources": {},
        "all_devices": False,
        "mounts": [],
        "mounts_absent": ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"],
        "writable_mounts": [],
    }


def arguments(config: cri.ContainerConfig, image: Mapping[str, Any]) -> list[str]:
    """The command with its arguments. `image`: the image's OCI config.

    A command of the container replaces the image's entrypoint and its arguments; arguments alone
    replace the image's arguments. Raises: CriError if nothing is left.
    """
    if config.command:
        found = [*config.command, *config.args]
    else:
        found = [*(image.get("Entrypoint") or ()), *(config.args or image.get("Cmd") or ())]
    if not found:
        raise invalid("neither the container nor its image names a command")
    return found


def resources(given: cri.LinuxContainerResources, facts: NodeFacts) -> Spec:
    """`linux.resources` of what is set; 0 and "" are "not set"."""
    cpu = _set(
        shares=given.cpu_shares,
        quota=given.cpu_quota,
        period=given.cpu_period,
        cpus=given.cpuset_cpus,
        mems=given.cpuset_mems,
    )
    swap = given.memory_swap_limit_in_bytes if facts.memory_swap else 0
    memory = _set(limit=given.memory_limit_in_bytes, swap=swap)
    changes: Spec = {}
    if cpu:
        changes["cpu"] = cpu
    if memory:
        changes["memory"] = memory
    if facts.hugetlb and given.hugepage_limits:
        changes["hugepageLimits"] = [
            {"pageSize": h.page_size, "limit": h.limit} for h in given.hugepage_limits
        ]
    if given.unified:
        if not facts.cgroup_v2:
            raise unimplemented("resources.unified: this node has cgroup v1")
        changes["unified"] = dict(given.unified)
    return changes


def _refuse(config: cri.ContainerConfig, facts: NodeFacts) -> None:
    """What cannot be honoured is refused by its name."""
    context = config.linux.security_context
    if config.HasField("windows"):
        raise invalid("config.windows: this runtime runs Linux containers")
    if config.CDI_devices:
        raise unimplemented("config.CDI_devices: nerdctl 2.0 has no CDI")
    if context.selinux_options.ListFields() and not facts.selinux:
        raise invalid("security_context.selinux_options: this node has no SELinux")
    if context.namespace_options.HasField("userns_options"):
        mode = context.namespace_options.userns_options.mode
        if mode != cri.NODE:
            raise unimplemented("user namespaces: nerdctl has no mapping for one Pod")
    for mount in config.mounts:
        if mount.HasField("image"):
            raise unimplemented(f"mount {mount.container_path!r}: image volumes are not served")
        if mount.uidMappings or mount.gidMappings:
            raise unimplemented(f"mount {mount.container_path!r}: id mappings are not served")
        if mount.recursive_read_only and not facts.recursive_read_only:
            raise unimplemented(
                f"mount {mount.container_path!r}: recursive_read_only needs Linux 5.12 and runc 1.1"
            )


def _process(request: Request) -> Spec:
    config, facts = request.config, request.facts
    context = config.linux.security_context
    changes: Spec = {
        "capabilities": nerdctl_security.capability_sets(context, facts.capabilities),
        "noNewPrivileges": context.no_new_privs,
        "terminal": config.tty,
    }
    score = config.linux.resources.oom_score_adj
    if score > 0 or facts.can_lower_oom_score:
        changes["oomScoreAdj"] = score
    if profile := nerdctl_security.apparmor(context, facts):
        changes["apparmorProfile"] = profile
    return changes


def _spaces(paths: SandboxPaths) -> dict[str, str | None]:
    return {"network": paths.network or None, "ipc": paths.ipc or None, "uts": paths.uts or None}


def _namespaces(request: Request) -> dict[str, str | None]:
    options = request.config.linux.security_context.namespace_options
    spaces = _spaces(request.paths)
    match options.pid:
        case cri.NODE:
            spaces["pid"] = None
        case cri.POD:
            spaces["pid"] = request.paths.pid
        case cri.TARGET:
            spaces["pid"] = request.target_pid
        case _:
            spaces["pid"] = ""
    return spaces


def _paths_in_proc(changes: Spec, context: cri.LinuxContainerSecurityContext) -> None:
    if context.privileged:
        changes["linux_absent"] += ["maskedPaths", "readonlyPaths"]
    else:
        changes["linux"]["maskedPaths"] = list(context.masked_paths)
        changes["linux"]["readonlyPaths"] = list(context.readonly_paths)


def _seccomp(changes: Spec, request: Request) -> None:
    context = request.config.linux.security_context
    profile = nerdctl_security.seccomp_profile(context)
    if context.privileged or profile.profile_type == cri.SecurityProfile.Unconfined:
        changes["linux_absent"].append("seccomp")
    elif request.seccomp is not None:
        changes["linux"]["seccomp"] = request.seccomp


def _devices(changes: Spec, request: Request) -> None:
    facts = request.facts
    found: dict[str, Device] = {}
    if request.config.linux.security_context.privileged:
        for device in facts.list_devices("/dev"):
            found[device.path] = device
        changes["resources"]["devices"] = ALL_DEVICES
    rules: list[Spec] = []
    for asked in request.config.devices:
        devices = facts.list_devices(asked.host_path)
        if not devices:
            raise CriError(Code.NOT_FOUND, f"device {asked.host_path!r} is not on this node")
        for device in devices:
            inside = asked.container_path + device.path.removeprefix(asked.host_path)
            found[inside] = device
            access = asked.permissions or "rwm"
            rules.append(
                {
                    "allow": True,
                    "type": device.kind,
                    "major": device.major,
                    "minor": device.minor,
                    "access": access,
                }
            )
    if rules and not changes["all_devices"]:
        changes["resources"]["devices"] = rules
    if found:
        changes["linux"]["devices"] = [_oci_device(p, d) for p, d in sorted(found.items())]


def _oci_device(path: str, device: Device) -> Spec:
    return {
        "path": path,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def _mounts(request: Request) -> list[Spec]:
    """The Pod's files, then what is asked for; parents before what lies in them."""
    asked = {posixpath.normpath(m.container_path): m for m in request.config.mounts}
    readonly = request.config.linux.security_context.readonly_rootfs
    paths = request.paths
    mounts = []
    for source, target in (
        (paths.resolv_conf, "/etc/resolv.conf"),
        (paths.hosts, "/etc/hosts"),
        (paths.hostname, "/etc/hostname"),
    ):
        if source and target not in asked:
            mode = "ro" if readonly else "rw"
            mounts.append(_bind(source, target, ["rbind", "rprivate", mode]))
    if paths.shm and "/dev/shm" not in asked:
        mounts.append(_bind(paths.shm, "/dev/shm", ["rbind", "rprivate", "rw"]))
    for target, mount in sorted(asked.items(), key=lambda item: item[0].count("/")):
        mounts.append(_bind(mount.host_path, target, _options(mount)))
    return mounts


def _options(mount: cri.Mount) -> list[str]:
    propagation = _PROPAGATION.get(mount.propagation, "rprivate")
    if mount.recursive_read_only:
        if not mount.readonly or propagation != "rprivate":
            raise invalid(
                f"mount {mount.container_path!r}: recursive_read_only needs readonly and private "
                "propagation"
            )
        return ["rbind", propagation, "rro"]
    return ["rbind", propagation, "ro" if mount.readonly else "rw"]


def _bind(source: str, target: str, options: list[str]) -> Spec:
    return {"destination": target, "type": "bind", "source": source, "options": options}


def _set(**values: int | str) -> Spec:
    return {name: value for name, value in values.items() if value}
