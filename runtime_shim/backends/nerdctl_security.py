"""CRI's security context: who a container is and what it may do. Pure.

Source: containerd internal/cri/server/container_create_linux.go (which field means what).
"""

from collections.abc import Sequence

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import invalid
from runtime_shim.node_facts import NodeFacts

# fmt: off
DEFAULT_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
    "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)
# fmt: on
"""As containerd and Docker have it."""


def user(context: cri.LinuxContainerSecurityContext) -> str:
    """nerdctl's `--user`; "" = the image's. Raises: CriError."""
    if context.HasField("run_as_user"):
        name = str(context.run_as_user.value)
    else:
        name = context.run_as_username
    if context.HasField("run_as_group"):
        if not name:
            raise invalid("run_as_group needs run_as_user or run_as_username")
        return f"{name}:{context.run_as_group.value}"
    return name


def capabilities(context: cri.LinuxContainerSecurityContext, node: Sequence[str]) -> list[str]:
    """CAP_ names, sorted. `ALL` and privileged mean what the node itself has."""
    if context.privileged:
        return sorted(f"CAP_{name}" for name in node)
    added = [bare(c) for c in context.capabilities.add_capabilities]
    dropped = [bare(c) for c in context.capabilities.drop_capabilities]
    names = set(node if "ALL" in added else DEFAULT_CAPABILITIES)
    if "ALL" in dropped:
        names = set(node if "ALL" in added else ())
    names |= {c for c in added if c != "ALL"}
    names -= {c for c in dropped if c != "ALL"}
    return sorted(f"CAP_{name}" for name in names)


def capability_sets(
    context: cri.LinuxContainerSecurityContext, node: Sequence[str]
) -> dict[str, list[str]]:
    """The OCI spec's `process.capabilities`."""
    names = capabilities(context, node)
    sets = {"bounding": names, "effective": names, "permitted": names}
    if asked := context.capabilities.add_ambient_capabilities:
        ambient = node if "ALL" in asked else [bare(c) for c in asked]
        sets["ambient"] = sets["inheritable"] = sorted(f"CAP_{name}" for name in ambient)
    return sets


def seccomp_profile(context: cri.LinuxContainerSecurityContext) -> cri.SecurityProfile:
    """The profile asked for; the deprecated path field counts where the new one is absent."""
    if context.HasField("seccomp"):
        return context.seccomp
    return _old_profile(context.seccomp_profile_path)


def _old_profile(path: str) -> cri.SecurityProfile:
    if path in ("runtime/default", "docker/default"):
        return cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault)
    if path in ("", "unconfined"):
        return cri.SecurityProfile(profile_type=cri.SecurityProfile.Unconfined)
    if path.startswith("localhost/"):
        return cri.SecurityProfile(
            profile_type=cri.SecurityProfile.Localhost,
            localhost_ref=path.removeprefix("localhost/"),
        )
    raise invalid(f"seccomp profile {path!r}: expected unconfined, runtime/default or localhost/P")


def apparmor(context: cri.LinuxContainerSecurityContext, facts: NodeFacts) -> str:
    """The profile's name; "" = none. Raises: CriError where the node has no AppArmor."""
    kind = context.apparmor.profile_type
    name = context.apparmor.localhost_ref
    if not context.HasField("apparmor"):
        old = context.apparmor_profile
        kind = cri.SecurityProfile.Unconfined
        if old.startswith("localhost/"):
            kind, name = cri.SecurityProfile.Localhost, old.removeprefix("localhost/")
    if kind != cri.SecurityProfile.Localhost:
        return ""
    if not facts.apparmor:
        raise invalid(f"AppArmor profile {name!r}: this node has no AppArmor")
    return name.removeprefix("localhost/")


def bare(capability: str) -> str:
    """`CAP_KILL`, `kill`: KILL."""
    return capability.upper().removeprefix("CAP_")
