"""Settings of the simulated nodes."""

from dataclasses import dataclass

from podpath.component_base.config import option
from podpath.component_base.durations import Duration
from podpath.component_base.tracing import TracingConfiguration, tracing_option


@dataclass(frozen=True, slots=True)
class Config:
    """`python -m podpath.hollow FLAGS`. The defaults of a node's size are kwok's."""

    kubeconfig: str = option(help="how to reach the API server, as an admin: it acts for all nodes")
    nodes: int = option(100, help="how many nodes")
    name_prefix: str = option("node-", help="nodes are called PREFIX and a number")
    first: int = option(0, help="number of the first node")
    node_cpus: int = option(32, help="processors of each node")
    node_memory: str = option("256Gi", help="memory of each node")
    max_pods: int = option(110, help="Pods that each node takes")
    node_ip: str = option("127.0.0.1", help="the address that all nodes tell")
    node_labels: tuple[str, ...] = option((), help="further labels of each Node: KEY=VALUE")
    node_lease_duration_seconds: int = option(40, help="of each Lease")
    sync_frequency_s: Duration = option(300.0, help="time between rounds of a quiet Pod")
    record_events: bool = option(False, help="whether the kubelets send Events (kwok does not)")
    tracing: TracingConfiguration = tracing_option()
    diagnostics_socket: str = option("", help="unix socket for health, metrics and the Pod trace")
    log_level: str = option("info", help="debug, info, warning or error")
    log_format: str = option("text", help="text or json")
