"""Settings of a kubelet; flags are upstream's where upstream has them."""

from dataclasses import dataclass

from podpath.component_base.config import option
from podpath.component_base.durations import Duration
from podpath.component_base.tracing import TracingConfiguration, tracing_option


@dataclass(frozen=True, slots=True)
class Config:
    """`python -m kubelet FLAGS`."""

    kubeconfig: str = option(help="how to reach the API server and as whom")
    container_runtime_endpoint: str = option(help="CRI socket: unix:///PATH")
    bootstrap_kubeconfig: str = option(
        "", help="kubeconfig with a token, to join with when --kubeconfig is not there yet"
    )
    cert_dir: str = option("/var/lib/kubelet/pki", help="where requested certificates are kept")
    rotate_certificates: bool = option(True, help="renew the client certificate that was joined by")
    rotate_server_certificates: bool = option(
        False, help="serve with a certificate by request instead of --tls-cert-file"
    )
    pod_routes: bool = option(
        False, help="set the routes to other nodes' Pods that the controllers publish"
    )
    hostname_override: str = option("", help="the node's name; empty: the host name")
    node_ip: tuple[str, ...] = option((), help="the node's addresses, told as InternalIP")
    address: str = option("0.0.0.0", help="where the HTTPS server listens")
    port: int = option(10250, help="port of the HTTPS server")
    tls_cert_file: str = option("", help="the server's certificate; without it nothing is served")
    tls_private_key_file: str = option("", help="the key of --tls-cert-file")
    client_ca_file: str = option("", help="CA of the clients that the server lets in")
    root_dir: str = option("/var/lib/kubelet", help="Pods' directories and volumes")
    pod_logs_dir: str = option("/var/log/pods", help="containers' logs")
    container_logs_dir: str = option(
        "", help="directory of symlinks to all containers' logs (upstream: /var/log/containers)"
    )
    container_log_max_size: str = option("10Mi", help="a container's log is rotated at this size")
    container_log_max_files: int = option(5, help="files of one container's log, 2 at least")
    container_log_monitor_interval_s: Duration = option(
        10.0, help="time between looks at the logs' sizes"
    )
    cluster_dns: tuple[str, ...] = option((), help="name servers of Pods with ClusterFirst")
    cluster_domain: str = option("cluster.local", help="domain of the cluster's services")
    resolv_conf: str = option("/etc/resolv.conf", help="the node's resolv.conf; empty: none")
    max_pods: int = option(110, help="Pods that the node takes")
    node_labels: tuple[str, ...] = option((), help="labels of a new Node: KEY=VALUE")
    register_with_taints: tuple[str, ...] = option(
        (), help="taints of a new Node: KEY=VALUE:EFFECT"
    )
    register_schedulable: bool = option(True, help="false: the new Node is unschedulable")
    node_cpus: float = option(0.0, help="processors to offer instead of the machine's; 0: its own")
    node_memory: str = option("", help="memory to offer (8Gi) instead of the machine's own")
    cgroup_root: str = option("/", help="cgroup below which the Pods' cgroups are")
    serialize_image_pulls: bool = option(True, help="one image pull at a time")
    sync_frequency_s: Duration = option(60.0, help="time between rounds of a quiet Pod")
    node_status_update_frequency_s: Duration = option(10.0, help="time between looks at the node")
    node_status_report_frequency_s: Duration = option(
        300.0, help="time between reports of an unchanged node status"
    )
    node_lease_duration_seconds: int = option(40, help="of the Lease; renewed at a quarter")
    record_events: bool = option(True, help="whether Events are sent")
    tracing: TracingConfiguration = tracing_option()
    diagnostics_socket: str = option("", help="unix socket for health, metrics and the Pod trace")
    log_level: str = option("info", help="debug, info, warning or error")
    log_format: str = option("text", help="text or json")
