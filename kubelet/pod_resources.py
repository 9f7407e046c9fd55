"""Amounts of a Pod: requests, QoS class, cgroup names, Linux resources of containers. Pure.

Units: cpu in millicores, memory in bytes.
Source: pkg/apis/core/v1/helper/qos, pkg/kubelet/qos/policy.go, pkg/kubelet/cm/helpers_linux.go,
pkg/kubelet/kuberuntime/kuberuntime_container_linux.go, component-helpers resource/helpers.go.
"""

from collections.abc import Iterable, Mapping

from kubelet.runtime_status import is_sidecar
from podpath.api import quantity
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core
from protos.k8s.resource_pb2 import Quantity

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
CRITICAL_PRIORITY = 2_000_000_000

MIN_SHARES, MAX_SHARES = 2, 262144
MIN_QUOTA_US = 1000
PERIOD_US = 100_000
SANDBOX_OOM_SCORE = -998

Amounts = Mapping[str, Quantity]


def milli(amounts: Amounts, name: str) -> int:
    return quantity.milli_value(amounts[name].string) if name in amounts else 0


def whole(amounts: Amounts, name: str) -> int:
    return quantity.value(amounts[name].string) if name in amounts else 0


def qos_class(pod: core.Pod) -> str:
    """By cpu and memory over all but ephemeral containers; amounts of zero do not count."""
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    guaranteed = True
    for container in (*pod.spec.containers, *pod.spec.initContainers):
        _add_positive(requests, container.resources.requests)
        limited = _add_positive(limits, container.resources.limits)
        guaranteed = guaranteed and limited == 2
    if not requests and not limits:
        return BEST_EFFORT
    if guaranteed and requests == limits:
        return GUARANTEED
    return BURSTABLE


def _add_positive(sums: dict[str, int], amounts: Amounts) -> int:
    found = 0
    for name in ("cpu", "memory"):
        amount = milli(amounts, name)
        if amount > 0:
            found += 1
            sums[name] = sums.get(name, 0) + amount
    return found


def pod_requests(pod: core.Pod) -> dict[str, int]:
    """What the Pod asks of a node: cpu in millicores, all else whole.

    Sum of containers and sidecars, or the largest init step beside the sidecars started before
    it; overhead on top.
    """
    total = _sum(c.resources.requests for c in pod.spec.containers)
    sidecars: dict[str, int] = {}
    largest: dict[str, int] = {}
    for container in pod.spec.initContainers:
        own = _amounts(container.resources.requests)
        if is_sidecar(container):
            _merge_add(total, own)
            _merge_add(sidecars, own)
            step = dict(sidecars)
        else:
            step = dict(sidecars)
            _merge_add(step, own)
        for name, amount in step.items():
            largest[name] = max(largest.get(name, 0), amount)
    for name, amount in largest.items():
        total[name] = max(total.get(name, 0), amount)
    if pod.spec.overhead:
        _merge_add(total, _amounts(pod.spec.overhead))
    return total


def _amounts(amounts: Amounts) -> dict[str, int]:
    return {
        name: milli(amounts, name) if name == "cpu" else whole(amounts, name) for name in amounts
    }


def _sum(all_amounts: Iterable[Amounts]) -> dict[str, int]:
    total: dict[str, int] = {}
    for amounts in all_amounts:
        _merge_add(total, _amounts(amounts))
    return total


def _merge_add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def cpu_shares(millicores: int) -> int:
    return max(MIN_SHARES, min(MAX_SHARES, millicores * 1024 // 1000)) if millicores else MIN_SHARES


def cpu_quota(millicores: int) -> int:
    """Microseconds for each period of 100 ms; 0 means unlimited."""
    return max(MIN_QUOTA_US, millicores * PERIOD_US // 1000) if millicores else 0


def oom_score_adj(pod: core.Pod, container: core.Container, qos: str, memory_capacity: int) -> int:
    if qos == GUARANTEED or pod.spec.priority >= CRITICAL_PRIORITY:
        return -997
    if qos == BEST_EFFORT:
        return 1000
    request = whole(container.resources.requests, "memory")
    score = 1000 - 1000 * request // memory_capacity if memory_capacity else 999
    return max(3, min(999, score))


def container_resources(
    pod: core.Pod, container: core.Container, qos: str, memory_capacity: int
) -> cri.LinuxContainerResources:
    requests, limits = container.resources.requests, container.resources.limits
    limit = milli(limits, "cpu")
    request = milli(requests, "cpu") if "cpu" in requests or not limit else limit
    result = cri.LinuxContainerResources(
        cpu_shares=cpu_shares(request),
        oom_score_adj=oom_score_adj(pod, container, qos, memory_capacity),
        memory_limit_in_bytes=whole(limits, "memory"),
    )
    result.cpu_period = PERIOD_US
    result.cpu_quota = cpu_quota(limit)
    return result


def pod_resources(pod: core.Pod) -> cri.LinuxContainerResources:
    """What the whole Pod may use, told with its sandbox; a limit needs every container's."""
    cpu = pod_requests(pod).get("cpu", 0)
    containers = [*pod.spec.containers, *(c for c in pod.spec.initContainers if is_sidecar(c))]
    result = cri.LinuxContainerResources(cpu_shares=cpu_shares(cpu), cpu_period=PERIOD_US)
    if containers and all(milli(c.resources.limits, "cpu") for c in containers):
        result.cpu_quota = cpu_quota(sum(milli(c.resources.limits, "cpu") for c in containers))
    if containers and all(whole(c.resources.limits, "memory") for c in containers):
        result.memory_limit_in_bytes = sum(whole(c.resources.limits, "memory") for c in containers)
    return result


def cgroup_parent(uid: str, qos: str, *, systemd: bool, root: str = "/") -> str:
    """`/kubepods/burstable/podUID`, or the systemd slice of the same meaning."""
    middle = {GUARANTEED: "", BURSTABLE: "burstable", BEST_EFFORT: "besteffort"}[qos]
    if systemd:
        slice_ = f"kubepods-{middle}" if middle else "kubepods"
        return f"{slice_}-pod{uid.replace('-', '_')}.slice"
    parts = [root.strip("/"), "kubepods", middle, f"pod{uid}"]
    return "/" + "/".join(part for part in parts if part)
