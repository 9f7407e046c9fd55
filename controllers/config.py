"""What the controllers' flags mean; names and defaults are kube-controller-manager's."""

from dataclasses import dataclass

from podpath.component_base.config import option
from podpath.component_base.durations import Duration
from podpath.component_base.tracing import TracingConfiguration, tracing_option


@dataclass(frozen=True, slots=True)
class Config:
    kubeconfig: str = option(help="kubeconfig file that leads to the API server")
    controllers: tuple[str, ...] = option(
        ("*",), help="which to run: '*' all, 'NAME' this one, '-NAME' not this one"
    )
    leader_elect: bool = option(True, help="wait to be elected before working")
    leader_elect_lease_duration_s: Duration = option(15.0, help="time after which another may lead")
    leader_elect_renew_deadline_s: Duration = option(
        10.0, help="time to renew in, else lead is given up"
    )
    leader_elect_retry_period_s: Duration = option(2.0, help="time between attempts")
    leader_elect_resource_namespace: str = option("kube-system", help="namespace of the Lease")
    leader_elect_resource_name: str = option("kube-controller-manager", help="name of the Lease")
    root_ca_file: str = option("", help="CA bundle published in every namespace; empty: none")
    cluster_signing_cert_file: str = option(
        "", help="CA that signs CertificateSigningRequests; empty: none are signed"
    )
    cluster_signing_key_file: str = option("", help="its key")
    cluster_signing_duration_s: Duration = option(
        365 * 86400.0, help="how long signed certificates are good for at most"
    )
    allocate_node_cidrs: bool = option(
        False, help="give each node a range of Pod addresses, and publish routes to them"
    )
    cluster_cidr: str = option("", help="range that the nodes' ranges are taken from")
    node_cidr_mask_size: int = option(24, help="prefix length of a node's range")
    terminated_pod_gc_threshold: int = option(
        12500, help="how many finished Pods to keep; 0 keeps all"
    )
    node_monitor_period_s: Duration = option(5.0, help="time between looks at the nodes")
    node_monitor_grace_period_s: Duration = option(
        50.0, help="silence after which a node is Unknown"
    )
    node_startup_grace_period_s: Duration = option(
        60.0, help="the same for a node that never spoke"
    )
    node_eviction_rate: float = option(
        0.1, help="nodes per second whose Pods are evicted, in a zone that is healthy"
    )
    secondary_node_eviction_rate: float = option(
        0.01, help="the same in an unhealthy zone of a large cluster"
    )
    large_cluster_size_threshold: int = option(
        50, help="unhealthy zones with more nodes have the secondary rate; in smaller ones it is 0"
    )
    unhealthy_zone_threshold: float = option(
        0.55, help="share of nodes (three at least) that are not Ready in an unhealthy zone"
    )
    tracing: TracingConfiguration = tracing_option()
    diagnostics_socket: str = option("", help="unix socket for health, metrics and traces")
    log_level: str = option("info", help="debug, info, warning or error")
    log_format: str = option("text", help="text or json")
