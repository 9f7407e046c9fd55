"""What the API server is started with; upstream's flag names.

Source: k8s.io/kubernetes cmd/kube-apiserver/app/options, k8s.io/apiserver pkg/server/options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podpath.component_base import config as component_config
from podpath.component_base.config import option
from podpath.component_base.durations import Duration
from podpath.component_base.tracing import TracingConfiguration, tracing_option


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Files are PEM unless their help says otherwise; an empty path means: not given."""

    etcd_servers: tuple[str, ...] = option(help="etcd's endpoints, http(s)://HOST:PORT")
    etcd_cafile: str = option("", help="CA of etcd's certificates")
    etcd_certfile: str = option("", help="client certificate for etcd")
    etcd_keyfile: str = option("", help="its key")
    etcd_compaction_interval_s: Duration = option(
        300.0, help="time between compactions; history is held for one to two; 0 never compacts"
    )

    bind_address: str = option("0.0.0.0", help="where both doors listen")
    advertise_address: str = option(
        "", help="where Pods reach the HTTPS door; by default the bind address or the host's own"
    )
    secure_port: int = option(6443, help="the HTTPS door; 0 closes it")
    grpc_port: int = option(6444, help="the gRPC door, for clients with a certificate; 0 closes it")
    grpc_token_port: int = option(
        0, help="a second gRPC door for clients that have a token and no certificate; 0 closes it"
    )
    tls_cert_file: str = option(help="certificate of both doors")
    tls_private_key_file: str = option(help="its key")
    client_ca_file: str = option("", help="CA of client certificates")

    anonymous_auth: bool = option(True, help="let requests without credentials in, as anonymous")
    token_auth_file: str = option("", help='static bearer tokens, CSV: token,user,uid,"groups"')
    enable_bootstrap_token_auth: bool = option(
        False, help="let machines in that show a bootstrap token (Secrets of kube-system)"
    )
    api_audiences: tuple[str, ...] = option(
        (), help="whom tokens must be meant for; by default the service account issuer"
    )
    service_account_issuer: str = option(
        "https://kubernetes.default.svc.cluster.local", help="issuer of ServiceAccount tokens"
    )
    service_account_key_file: tuple[str, ...] = option(
        (), help="public keys that verify ServiceAccount tokens"
    )
    service_account_signing_key_file: str = option("", help="key that signs ServiceAccount tokens")
    enable_admission_plugins: tuple[str, ...] = option((), help="in addition to the default ones")
    disable_admission_plugins: tuple[str, ...] = option((), help="of the default ones")

    kubelet_certificate_authority: str = option("", help="CA of kubelets' serving certificates")
    kubelet_client_certificate: str = option("", help="what kubelets are shown")
    kubelet_client_key: str = option("", help="its key")

    service_cluster_ip_range: str = option("10.96.0.0/16", help="CIDR of cluster IPs")
    max_requests_inflight: int = option(400, help="reads at one time; 0: no limit")
    max_mutating_requests_inflight: int = option(200, help="writes at one time; 0: no limit")
    shutdown_grace_s: Duration = option(2.0, help="time that calls have to finish at the end")

    tracing: TracingConfiguration = tracing_option()
    pod_traceparent_annotation: bool = option(
        True, help="write the trace context of sampled Pods to tracing.k8s.io/traceparent"
    )
    diagnostics_socket: str = option("", help="unix socket of healthz, readyz, metrics, podtrace")
    log_level: str = option("info", help="debug, info, warning or error")
    log_format: str = option("text", help="text or json")


def load(argv: Sequence[str]) -> Config:
    """Exits with 2 and a usage message on a bad command line."""
    return component_config.load(Config, argv, prog="apiserver", description="podpath's API server")


def read(path: str) -> bytes:
    """The file's bytes; b"" for an empty path. Raises: ConfigError, which names it."""
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise component_config.ConfigError(f"{path}: {error.strerror}") from None
