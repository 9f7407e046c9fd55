"""ListMetricDescriptors and ListPodSandboxMetrics: the stats as named metrics, as cAdvisor's.

Source: containerd internal/cri/server/list_metric_descriptors.go (the names).
"""

from collections.abc import Iterator

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.rpc.stats import list_pod_sandbox_stats
from runtime_shim.runtime import Runtime

_COUNTER, _GAUGE = cri.COUNTER, cri.GAUGE
_CONTAINER_LABELS = ("id", "name")
_INTERFACE_LABELS = ("id", "name", "interface")

DESCRIPTORS: dict[str, tuple[str, "cri.MetricType", tuple[str, ...]]] = {
    "container_cpu_usage_seconds_total": (
        "CPU time consumed, in whole seconds",
        _COUNTER,
        _CONTAINER_LABELS,
    ),
    "container_memory_usage_bytes": (
        "Memory in use, page cache included",
        _GAUGE,
        _CONTAINER_LABELS,
    ),
    "container_memory_working_set_bytes": (
        "Memory in use without inactive page cache",
        _GAUGE,
        _CONTAINER_LABELS,
    ),
    "container_memory_rss": ("Anonymous memory", _GAUGE, _CONTAINER_LABELS),
    "container_processes": ("Processes in the Pod", _GAUGE, _CONTAINER_LABELS),
    "container_network_receive_bytes_total": ("Bytes received", _COUNTER, _INTERFACE_LABELS),
    "container_network_receive_errors_total": ("Receive errors", _COUNTER, _INTERFACE_LABELS),
    "container_network_transmit_bytes_total": ("Bytes sent", _COUNTER, _INTERFACE_LABELS),
    "container_network_transmit_errors_total": ("Send errors", _COUNTER, _INTERFACE_LABELS),
}


async def list_metric_descriptors(
    _: Runtime, __: cri.ListMetricDescriptorsRequest
) -> cri.ListMetricDescriptorsResponse:
    return cri.ListMetricDescriptorsResponse(
        descriptors=[
            cri.MetricDescriptor(name=name, help=text, label_keys=labels)
            for name, (text, _, labels) in DESCRIPTORS.items()
        ]
    )


async def list_pod_sandbox_metrics(
    runtime: Runtime, _: cri.ListPodSandboxMetricsRequest
) -> cri.ListPodSandboxMetricsResponse:
    stats = await list_pod_sandbox_stats(runtime, cri.ListPodSandboxStatsRequest())
    response = cri.ListPodSandboxMetricsResponse()
    for pod in stats.stats:
        metrics = response.pod_metrics.add(pod_sandbox_id=pod.attributes.id)
        metrics.metrics.extend(_of_pod(pod))
        for container in pod.linux.containers:
            metrics.container_metrics.add(
                container_id=container.attributes.id, metrics=_of_container(container)
            )
    return response


def _of_pod(pod: cri.PodSandboxStats) -> Iterator[cri.Metric]:
    labels = (pod.attributes.id, pod.attributes.metadata.name)
    linux = pod.linux
    yield from _usage(linux.cpu, linux.memory, labels)
    if linux.process.HasField("process_count"):
        yield _metric(
            "container_processes", linux.process.timestamp, labels, linux.process.process_count
        )
    interfaces = [linux.network.default_interface, *linux.network.interfaces]
    for interface in (i for i in interfaces if i.name):
        for direction, verb in (("rx", "receive"), ("tx", "transmit")):
            for unit in ("bytes", "errors"):
                yield _metric(
                    f"container_network_{verb}_{unit}_total",
                    linux.network.timestamp,
                    (*labels, interface.name),
                    getattr(interface, f"{direction}_{unit}"),
                )


def _of_container(stats: cri.ContainerStats) -> Iterator[cri.Metric]:
    labels = (stats.attributes.id, stats.attributes.metadata.name)
    yield from _usage(stats.cpu, stats.memory, labels)


def _usage(
    cpu: cri.CpuUsage, memory: cri.MemoryUsage, labels: tuple[str, ...]
) -> Iterator[cri.Metric]:
    if cpu.HasField("usage_core_nano_seconds"):
        seconds = cri.UInt64Value(value=cpu.usage_core_nano_seconds.value // 1_000_000_000)
        yield _metric("container_cpu_usage_seconds_total", cpu.timestamp, labels, seconds)
    for name, field in (
        ("container_memory_usage_bytes", "usage_bytes"),
        ("container_memory_working_set_bytes", "working_set_bytes"),
        ("container_memory_rss", "rss_bytes"),
    ):
        if memory.HasField(field):
            yield _metric(name, memory.timestamp, labels, getattr(memory, field))


def _metric(name: str, at: int, labels: tuple[str, ...], value: cri.UInt64Value) -> cri.Metric:
    kind = DESCRIPTORS[name][1]
    return cri.Metric(name=name, timestamp=at, metric_type=kind, label_values=labels, value=value)
