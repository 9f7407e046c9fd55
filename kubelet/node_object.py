"""The Node object: what a kubelet registers, and its conditions. Pure.

Source: pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus/setters.go.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kubelet.machine import Machine, Usage
from kubelet.pod_status import time_of
from podpath.api import quantity
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

KUBELET_VERSION = "v1.33.4"
NOT_READY_TAINT = "node.kubernetes.io/not-ready"
MAX_IMAGES = 50
MAX_NAMES_PER_IMAGE = 5

# Hard eviction thresholds, which are also taken off the allocatable amounts.
MEMORY_RESERVE_BYTES = 100 * 1024 * 1024
DISK_RESERVE_FRACTION = 0.10
MIN_PIDS_FREE = 0


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What does not change while the kubelet runs. `addresses` are the node's own IPs."""

    name: str
    machine: Machine
    addresses: tuple[str, ...]
    port: int
    max_pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[core.Taint, ...] = ()
    extra_capacity: Mapping[str, str] = field(default_factory=dict)
    hostname: str = ""
    unschedulable: bool = False


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What the conditions follow from. `problems` are reasons not to be ready."""

    problems: tuple[str, ...]
    usage: Usage
    runtime_version: str = ""
    images: Sequence[cri.Image] = ()


def new_node(identity: NodeIdentity) -> core.Node:
    """The object to register: labels, taints, no status yet."""
    node = core.Node()
    node.metadata.name = identity.name
    node.metadata.labels.update(default_labels(identity))
    node.metadata.annotations["volumes.kubernetes.io/controller-managed-attach-detach"] = "true"
    node.spec.taints.extend(identity.taints)
    if identity.unschedulable:
        node.spec.unschedulable = True
    return node


def default_labels(identity: NodeIdentity) -> dict[str, str]:
    arch = identity.machine.architecture
    labels = {
        "kubernetes.io/hostname": identity.hostname or identity.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": arch,
    }
    return labels | dict(identity.labels)


def set_status(node: core.Node, identity: NodeIdentity, health: NodeHealth, now: datetime) -> None:
    """Writes what the kubelet knows into `node.status`; conditions of others stay."""
    status = node.status
    _set_amounts(status, identity)
    del status.addresses[:]
    for address in identity.addresses:
        status.addresses.add(type="InternalIP", address=address)
    status.addresses.add(type="Hostname", address=identity.hostname or identity.name)
    status.daemonEndpoints.kubeletEndpoint.Port = identity.port
    _set_info(status.nodeInfo, identity.machine, health)
    del status.images[:]
    for image in sorted(health.images, key=lambda i: -i.size)[:MAX_IMAGES]:
        names = [*image.repo_digests, *image.repo_tags][:MAX_NAMES_PER_IMAGE]
        status.images.add(names=names, sizeBytes=image.size)
    set_conditions(status, conditions(health), now)


def _set_amounts(status: core.NodeStatus, identity: NodeIdentity) -> None:
    machine = identity.machine
    capacity = {
        "cpu": quantity.of_milli(machine.cpu).text,
        "memory": f"{machine.memory // 1024}Ki",
        "ephemeral-storage": f"{machine.disk // 1024}Ki",
        "pods": str(identity.max_pods),
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    } | dict(identity.extra_capacity)
    allocatable = dict(capacity)
    allocatable["memory"] = f"{max(0, machine.memory - MEMORY_RESERVE_BYTES) // 1024}Ki"
    allocatable["ephemeral-storage"] = str(int(machine.disk * (1 - DISK_RESERVE_FRACTION)))
    for name, text in capacity.items():
        status.capacity[name].string = text
    for name, text in allocatable.items():
        status.allocatable[name].string = text


def _set_info(info: core.NodeSystemInfo, machine: Machine, health: NodeHealth) -> None:
    info.machineID = machine.machine_id
    info.systemUUID = machine.system_uuid
    info.bootID = machine.boot_id
    info.kernelVersion = machine.kernel
    info.osImage = machine.os_image
    info.containerRuntimeVersion = health.runtime_version
    info.kubeletVersion = KUBELET_VERSION
    info.kubeProxyVersion = ""
    info.operatingSystem = "linux"
    info.architecture = machine.architecture


Condition = tuple[str, bool, str, str]


def conditions(health: NodeHealth) -> list[Condition]:
    """(type, status, reason, message), in upstream's order."""
    usage = health.usage
    memory = usage.memory_available < MEMORY_RESERVE_BYTES
    disk = usage.disk_available < usage.disk_total * DISK_RESERVE_FRACTION
    pids = usage.pids_free <= MIN_PIDS_FREE
    ready = not health.problems
    return [
        (
            "MemoryPressure",
            memory,
            "KubeletHasInsufficientMemory" if memory else "KubeletHasSufficientMemory",
            "kubelet has insufficient memory available"
            if memory
            else "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            disk,
            "KubeletHasDiskPressure" if disk else "KubeletHasNoDiskPressure",
            "kubelet has disk pressure" if disk else "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            pids,
            "KubeletHasInsufficientPID" if pids else "KubeletHasSufficientPID",
            "kubelet has insufficient PID available"
            if pids
            else "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            ready,
            "KubeletReady" if ready else "KubeletNotReady",
            "kubelet is posting ready status" if ready else _listed(health.problems),
        ),
    ]


def _listed(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"


def set_conditions(status: core.NodeStatus, wanted: Iterable[Condition], now: datetime) -> None:
    """A condition's transition time moves only with its status; its heartbeat always."""
    present = {c.type: c for c in status.conditions}
    for type_, value, reason, message in wanted:
        text = "True" if value else "False"
        condition = present.get(type_)
        if condition is None:
            condition = status.conditions.add(type=type_)
        if condition.status != text:
            condition.lastTransitionTime.CopyFrom(time_of(now))
        condition.status = text
        condition.reason, condition.message = reason, message
        condition.lastHeartbeatTime.CopyFrom(time_of(now))


def same_but_heartbeat(left: core.NodeStatus, right: core.NodeStatus) -> bool:
    """Whether nothing but the time of the heartbeats differs."""
    if len(left.conditions) != len(right.conditions):
        return False
    a, b = core.NodeStatus(), core.NodeStatus()
    a.CopyFrom(left)
    b.CopyFrom(right)
    for status in (a, b):
        for condition in status.conditions:
            condition.ClearField("lastHeartbeatTime")
    return a == b


def parse_taint(text: str) -> core.Taint:
    """`key=value:Effect` or `key:Effect`. Raises: ValueError."""
    left, colon, effect = text.rpartition(":")
    if not colon or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise ValueError(f"taint {text!r}: expected KEY[=VALUE]:EFFECT")
    key, _, value = left.partition("=")
    taint = core.Taint(key=key, effect=effect)
    if value:
        taint.value = value
    return taint


def is_ready(node: core.Node) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
