"""ContainerStats, ListContainerStats, PodSandboxStats, ListPodSandboxStats."""

from collections.abc import Mapping

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.cpu_rate import CpuRate
from runtime_shim.runtime import Runtime
from runtime_shim.state import RUNNING, ContainerRecord, SandboxRecord


async def container_stats(
    runtime: Runtime, request: cri.ContainerStatsRequest
) -> cri.ContainerStatsResponse:
    """Raises: CriError NOT_FOUND."""
    record = runtime.state.container(request.container_id)
    return cri.ContainerStatsResponse(stats=await _of_container(runtime, record))


async def list_container_stats(
    runtime: Runtime, request: cri.ListContainerStatsRequest
) -> cri.ListContainerStatsResponse:
    """Of running containers that match the filter."""
    asked = cri.ContainerFilter(
        id=request.filter.id,
        pod_sandbox_id=request.filter.pod_sandbox_id,
        label_selector=request.filter.label_selector,
    )
    found = [r for r in runtime.state.select_containers(asked) if r.state == RUNNING]
    return cri.ListContainerStatsResponse(stats=[await _of_container(runtime, r) for r in found])


async def pod_sandbox_stats(
    runtime: Runtime, request: cri.PodSandboxStatsRequest
) -> cri.PodSandboxStatsResponse:
    """Raises: CriError NOT_FOUND."""
    record = runtime.state.sandbox(request.pod_sandbox_id)
    return cri.PodSandboxStatsResponse(stats=await _of_sandbox(runtime, record))


async def list_pod_sandbox_stats(
    runtime: Runtime, request: cri.ListPodSandboxStatsRequest
) -> cri.ListPodSandboxStatsResponse:
    """Of ready sandboxes that match the filter."""
    asked = cri.PodSandboxFilter(id=request.filter.id, label_selector=request.filter.label_selector)
    found = [r for r in runtime.state.select_sandboxes(asked) if not r.stopped_at]
    return cri.ListPodSandboxStatsResponse(stats=[await _of_sandbox(runtime, r) for r in found])


async def _of_container(runtime: Runtime, record: ContainerRecord) -> cri.ContainerStats:
    stats = cri.ContainerStats()
    if record.state == RUNNING:
        stats.CopyFrom(await runtime.backend(record.handler).container_stats(record))
        _add_rate(stats.cpu, record.cpu_rate, record.started_at)
    stats.attributes.CopyFrom(
        cri.ContainerAttributes(
            id=record.id,
            metadata=record.config.metadata,
            labels=record.config.labels,
            annotations=record.config.annotations,
        )
    )
    return stats


async def _of_sandbox(runtime: Runtime, record: SandboxRecord) -> cri.PodSandboxStats:
    linux = await runtime.backend(record.handler).sandbox_stats(record)
    _add_rate(linux.cpu, record.cpu_rate, record.created_at)
    members = [c for c in runtime.state.containers_of(record.id) if c.state == RUNNING]
    linux.containers.extend([await _of_container(runtime, c) for c in members])
    annotations: Mapping[str, str] = record.config.annotations
    return cri.PodSandboxStats(
        attributes=cri.PodSandboxAttributes(
            id=record.id,
            metadata=record.config.metadata,
            labels=record.config.labels,
            annotations=annotations,
        ),
        linux=linux,
    )


def _add_rate(cpu: cri.CpuUsage, rate: CpuRate, began: int) -> None:
    """Unless the engine tells it itself."""
    if cpu.HasField("usage_core_nano_seconds") and not cpu.HasField("usage_nano_cores"):
        total = cpu.usage_core_nano_seconds.value
        cpu.usage_nano_cores.value = rate.after(cpu.timestamp, total, began)
