"""Security contexts of Pods and containers.

Source: pkg/apis/core/validation/validation.go (ValidateSecurityContext,
validatePodSpecSecurityContext, validateSysctls).
"""

import re

from apiserver.validation import paths
from podpath.api import json_codec, names
from podpath.api.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
)
from protos.k8s.core_v1_pb2 import (
    AppArmorProfile,
    PodSecurityContext,
    PodSpec,
    SeccompProfile,
    SecurityContext,
)

_SYSCTL_LENGTH_MAX = 253
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}"
_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_IPC_SYSCTLS = (
    "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "fs.mqueue.",
)  # fmt: skip


def validate_security_context(
    context: SecurityContext, path: str, host_users: bool
) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("runAsUser", "runAsGroup"):
        if context.HasField(name):
            value = getattr(context, name)
            found += [invalid(f"{path}.{name}", value, t) for t in names.user_id_problems(value)]
    if context.HasField("procMount"):
        found += _proc_mount(context.procMount, f"{path}.procMount", host_users)
    if context.HasField("seccompProfile"):
        found += _seccomp(context.seccompProfile, f"{path}.seccompProfile")
    if context.HasField("allowPrivilegeEscalation") and not context.allowPrivilegeEscalation:
        found += _no_escalation(context, path)
    if context.HasField("appArmorProfile"):
        found += _app_armor(context.appArmorProfile, f"{path}.appArmorProfile")
    return found


def _proc_mount(value: str, path: str, host_users: bool) -> list[FieldError]:
    if value not in {"Default", "Unmasked"}:
        return [not_supported(path, value, ("Default", "Unmasked"))]
    if host_users and value == "Unmasked":
        return [invalid(path, value, "`hostUsers` must be false to use `Unmasked`")]
    return []


def _no_escalation(context: SecurityContext, path: str) -> list[FieldError]:
    found = []
    head = "cannot set `allowPrivilegeEscalation` to false and"
    value = json_codec.to_json(context)
    if context.privileged:
        found.append(invalid(path, value, f"{head} `privileged` to true"))
    if "CAP_SYS_ADMIN" in context.capabilities.add:
        found.append(invalid(path, value, f"{head} `capabilities.Add` CAP_SYS_ADMIN"))
    return found


def _seccomp(profile: SeccompProfile, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not profile.type:
        found.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif profile.type not in _PROFILE_TYPES:
        found.append(not_supported(f"{path}.type", profile.type, _PROFILE_TYPES))
    here = f"{path}.localhostProfile"
    if profile.type == "Localhost":
        if not profile.HasField("localhostProfile"):
            found.append(required(here, "must be set when seccomp type is Localhost"))
        else:
            found += paths.descending(profile.localhostProfile, here)
    elif profile.HasField("localhostProfile"):
        detail = "can only be set when seccomp type is Localhost"
        found.append(invalid(here, json_codec.to_json(profile), detail))
    return found


def _app_armor(profile: AppArmorProfile, path: str) -> list[FieldError]:
    if profile.type == "Localhost":
        if not profile.localhostProfile:
            detail = "must be set when AppArmor type is Localhost"
            return [required(f"{path}.localhostProfile", detail)]
        return []
    if profile.type in {"RuntimeDefault", "Unconfined"}:
        if profile.HasField("localhostProfile"):
            detail = "can only be set when AppArmor type is Localhost"
            return [invalid(f"{path}.localhostProfile", profile.localhostProfile, detail)]
        return []
    if not profile.type:
        return [required(f"{path}.type", "type is required when appArmorProfile is set")]
    return [not_supported(f"{path}.type", profile.type, _PROFILE_TYPES)]


def validate_pod_security_context(spec: PodSpec, path: str) -> list[FieldError]:
    context = spec.securityContext
    found: list[FieldError] = []
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        if context.HasField(name):
            value = getattr(context, name)
            found += [invalid(f"{path}.{name}", value, t) for t in names.user_id_problems(value)]
    for index, group in enumerate(context.supplementalGroups):
        here = f"{path}.supplementalGroups[{index}]"
        found += [invalid(here, group, text) for text in names.user_id_problems(group)]
    if spec.shareProcessNamespace and spec.hostPID:
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(invalid(f"{path}.shareProcessNamespace", True, detail))
    found += _sysctls(spec, f"{path}.sysctls")
    if context.HasField("fsGroupChangePolicy"):
        policies = {"Always", "OnRootMismatch"}
        if context.fsGroupChangePolicy not in policies:
            here = f"{path}.fsGroupChangePolicy"
            found.append(not_supported(here, context.fsGroupChangePolicy, policies))
    if context.HasField("seccompProfile"):
        found += _seccomp(context.seccompProfile, f"{path}.seccompProfile")
    if context.HasField("appArmorProfile"):
        found += _app_armor(context.appArmorProfile, f"{path}.appArmorProfile")
    if context.HasField("supplementalGroupsPolicy"):
        found += _groups_policy(context, f"{path}.supplementalGroupsPolicy")
    return found


def _groups_policy(context: PodSecurityContext, path: str) -> list[FieldError]:
    policies = {"Merge", "Strict"}
    if context.supplementalGroupsPolicy in policies:
        return []
    return [not_supported(path, context.supplementalGroupsPolicy, policies)]


def _sysctls(spec: PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, sysctl in enumerate(spec.securityContext.sysctls):
        here = f"{path}[{index}].name"
        name = sysctl.name
        if not name:
            found.append(required(here))
        elif len(name) > _SYSCTL_LENGTH_MAX or not re.fullmatch(_SYSCTL, name):
            detail = (
                f"must have at most {_SYSCTL_LENGTH_MAX} characters and match regex ^{_SYSCTL}$"
            )
            found.append(invalid(here, name, detail))
        elif name in seen:
            found.append(duplicate(here, name))
        found += _host_sysctl(spec, name.replace("/", "."), here)
        seen.add(name)
    return found


def _host_sysctl(spec: PodSpec, name: str, path: str) -> list[FieldError]:
    if spec.hostNetwork and name.startswith("net."):
        return [invalid(path, name, "may not be specified when 'hostNetwork' is true")]
    if spec.hostIPC and name.startswith(_IPC_SYSCTLS):
        return [invalid(path, name, "may not be specified when 'hostIPC' is true")]
    return []
