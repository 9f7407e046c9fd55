"""What pods/ephemeralcontainers and pods/resize may change.

Source: pkg/apis/core/validation/validation.go (ValidatePodEphemeralContainersUpdate,
ValidatePodResize).
"""

from apiserver.validation.pod import validate_pod_body
from podpath.api import quantity
from podpath.api.errors import FieldError, forbidden_field, invalid
from protos.k8s.core_v1_pb2 import Container, Pod

_MIRROR = "kubernetes.io/config.mirror"
_RESIZABLE = ("cpu", "memory")


def validate_ephemeral_containers_update(new: Pod, old: Pod) -> list[FieldError]:
    """Ephemeral containers are only added."""
    found = validate_pod_body(new)
    path = "spec.ephemeralContainers"
    if _MIRROR in new.metadata.annotations:
        found.append(forbidden_field("", "static pods do not support ephemeral containers"))
    after = {c.ephemeralContainerCommon.name: c for c in new.spec.ephemeralContainers}
    for container in old.spec.ephemeralContainers:
        name = container.ephemeralContainerCommon.name
        if name not in after:
            detail = f'existing ephemeral containers "{name}" may not be removed\n'
            found.append(forbidden_field(path, detail))
        elif after[name] != container:
            detail = f'existing ephemeral containers "{name}" may not be changed\n'
            found.append(forbidden_field(path, detail))
    return found


def validate_resize(new: Pod, old: Pod, qos: str, old_qos: str) -> list[FieldError]:
    """Cpu and memory change within the Pod's QoS class; nothing that was bounded is unbounded."""
    found = validate_pod_body(new)
    if _MIRROR in new.metadata.annotations:
        found.append(forbidden_field("", "static pods cannot be resized"))
    if new.spec.os.name == "windows":
        found.append(forbidden_field("spec", "windows pods cannot be resized"))
    if qos != old_qos:
        detail = "Pod QOS Class may not change as a result of resizing"
        found.append(invalid("spec", qos, detail))
    for name in ("containers", "initContainers"):
        pairs = zip(getattr(new.spec, name), getattr(old.spec, name), strict=True)
        for index, (container, before) in enumerate(pairs):
            found += _resized(container, before, f"spec.{name}[{index}].resources", name)
    return found


def _resized(new: Container, old: Container, path: str, field: str) -> list[FieldError]:
    if new.resources == old.resources:
        return []
    if field == "initContainers" and new.restartPolicy != "Always":
        return [forbidden_field(path, "only restartable init containers can be resized")]
    found: list[FieldError] = []
    for kind in ("requests", "limits"):
        after, before = getattr(new.resources, kind), getattr(old.resources, kind)
        for name in sorted({*after, *before}):
            here = f"{path}.{kind}[{name}]"
            if name in after and name in before and after[name] == before[name]:
                continue
            if name not in _RESIZABLE:
                found.append(forbidden_field(here, "only cpu and memory resources are mutable"))
            elif name not in after:
                found.append(forbidden_field(here, f"resource {kind} cannot be removed"))
    return found + _memory_limit(new, old, path)


def _memory_limit(new: Container, old: Container, path: str) -> list[FieldError]:
    after, before = new.resources.limits, old.resources.limits
    if "memory" not in after or "memory" not in before:
        return []
    less = quantity.value(after["memory"].string) < quantity.value(before["memory"].string)
    restarts = any(
        policy.resourceName == "memory" and policy.restartPolicy == "RestartContainer"
        for policy in new.resizePolicy
    )
    if not less or restarts:
        return []
    detail = "memory limits cannot be decreased unless resizePolicy is RestartContainer"
    return [forbidden_field(f"{path}.limits", detail)]
