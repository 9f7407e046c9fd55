"""A Pod's and its containers' security contexts -> CRI's. Pure.

Source: pkg/kubelet/kuberuntime/security_context.go, security_context_others.go, helpers.go,
pkg/securitycontext/util.go.
"""

from kubelet.environment import ContainerConfigError
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

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


def set_sandbox_security(linux: cri.LinuxPodSandboxConfig, pod: core.Pod) -> None:
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


def set_container_security(
    security: cri.LinuxContainerSecurityContext,
    pod: core.Pod,
    container: core.Container,
    image: cri.Image,
    *,
    target_id: str,
    seccomp_dir: str,
) -> None:
    """`target_id`: the container whose PID namespace it joins. Raises: ContainerConfigError."""
    own, shared = container.securityContext, pod.spec.securityContext
    security.privileged = own.privileged
    security.readonly_rootfs = own.readOnlyRootFilesystem
    security.namespace_options.CopyFrom(namespace_options(pod))
    if target_id:
        security.namespace_options.pid = cri.TARGET
        security.namespace_options.target_id = target_id
    security.capabilities.add_capabilities.extend(own.capabilities.add)
    security.capabilities.drop_capabilities.extend(own.capabilities.drop)
    security.no_new_privs = (
        own.HasField("allowPrivilegeEscalation") and not own.allowPrivilegeEscalation
    )
    _set_user(security, own, shared, container.name, image)
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
    security.seccomp.CopyFrom(_seccomp(profile, seccomp_dir, privileged=own.privileged))
    if own.HasField("appArmorProfile") or shared.HasField("appArmorProfile"):
        armor = own.appArmorProfile if own.HasField("appArmorProfile") else shared.appArmorProfile
        security.apparmor.profile_type = _SECCOMP.ProfileType.Value(armor.type)  # type: ignore[assignment]
        security.apparmor.localhost_ref = armor.localhostProfile


def _set_user(
    security: cri.LinuxContainerSecurityContext,
    own: core.SecurityContext,
    shared: core.PodSecurityContext,
    name: str,
    image: cri.Image,
) -> None:
    user = None
    if own.HasField("runAsUser"):
        user = own.runAsUser
    elif shared.HasField("runAsUser"):
        user = shared.runAsUser
    non_root = own.runAsNonRoot if own.HasField("runAsNonRoot") else shared.runAsNonRoot
    if non_root:
        _verify_non_root(user, name, image)
    if user is not None:
        security.run_as_user.value = user
    elif image.HasField("uid"):
        security.run_as_user.value = image.uid.value
    elif image.username:
        security.run_as_username = image.username
    if own.HasField("runAsGroup"):
        security.run_as_group.value = own.runAsGroup
    elif shared.HasField("runAsGroup"):
        security.run_as_group.value = shared.runAsGroup


def _verify_non_root(user: int | None, name: str, image: cri.Image) -> None:
    if user == 0:
        raise ContainerConfigError(
            f"container's runAsUser breaks non-root policy (container: {name})"
        )
    if user is not None:
        return
    if image.username:
        raise ContainerConfigError(
            f"container has runAsNonRoot and image has non-numeric user "
            f"({image.username}), cannot verify user is non-root (container: {name})"
        )
    if not image.HasField("uid") or image.uid.value == 0:
        raise ContainerConfigError(
            f"container has runAsNonRoot and image will run as root (container: {name})"
        )


def _seccomp(
    profile: core.SeccompProfile, seccomp_dir: str, *, privileged: bool
) -> cri.SecurityProfile:
    if privileged or not profile.type or profile.type == "Unconfined":
        return cri.SecurityProfile(profile_type=_SECCOMP.Unconfined)
    if profile.type == "Localhost":
        path = f"{seccomp_dir}/{profile.localhostProfile}"
        return cri.SecurityProfile(profile_type=_SECCOMP.Localhost, localhost_ref=path)
    return cri.SecurityProfile(profile_type=_SECCOMP.RuntimeDefault)
