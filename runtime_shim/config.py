"""The shim's settings."""

from dataclasses import asdict, dataclass
from pathlib import Path

from podpath.component_base.config import ConfigError, option
from podpath.component_base.durations import Duration
from podpath.component_base.tracing import TracingConfiguration, tracing_option


@dataclass(frozen=True, slots=True)
class Config:
    """One shim serves one node. Paths are made when they are missing."""

    listen: str = option(help="unix:///PATH of the CRI socket (mode 0600)")
    state_dir: Path = option(
        help="directory of this shim's journal, sockets and per-container files; the same one "
        "after a restart finds all containers again"
    )
    backend: str = option(
        "nerdctl", help="container engine: nerdctl, fake, or an entry point's name"
    )
    runtime_handlers: tuple[str, ...] = option(
        (), help="further engines by RuntimeClass handler, HANDLER=BACKEND"
    )
    containerd_address: str = option("/run/containerd/containerd.sock", help="containerd's socket")
    containerd_namespace: str = option(
        "podpath", help="containerd namespace of this node; no other runtime may use it"
    )
    data_root: str = option("", help="nerdctl's data directory (default: STATE_DIR/nerdctl)")
    cni_path: str = option("/usr/lib/cni", help="directory of the CNI plugins")
    pod_cidr: str = option(
        "10.88.0.0/16",
        help="range of the Pods' addresses until UpdateRuntimeConfig gives one; empty: wait for it",
    )
    non_masquerade_cidr: str = option(
        "",
        help="range of all nodes' Pods, which see each other's own addresses (default: --pod-cidr)",
    )
    bridge: str = option("", help="name of the Pods' bridge (default: made from the state dir)")
    sandbox_image: str = option(
        "podpath/pause:3.10", help="image whose process holds a shared PID namespace"
    )
    programs_at_once: int = option(
        0,
        help="programs that make or remove containers at the same moment; with more of them each "
        "finishes later (0: one more than there are cores)",
    )
    image_pull_timeout_s: Duration = option(
        120.0, help="time until a pull without progress is given up"
    )
    registry_hosts_dir: str = option(
        "/etc/containerd/certs.d", help="hosts.toml files by registry, as containerd reads them"
    )
    proxy_endpoint: str = option(
        "", help="backend proxy: unix:///PATH of the CRI server that does the work"
    )
    proxy_record: str = option(
        "", help="backend proxy: file that every call to that server is written to, as JSON lines"
    )
    proxy_faults: str = option(
        "", help="backend proxy: calls to spoil, RPC=CODE[:PROBABILITY][:DELAY_S], separated by ;"
    )
    streaming_address: str = option("127.0.0.1", help="address of the streaming server")
    streaming_port: int = option(0, help="port of the streaming server; 0: a free one")
    teardown: bool = option(
        False, help="remove every Pod of this node, its bridge and its rules, and end"
    )
    tracing: TracingConfiguration = tracing_option()
    diagnostics_socket: str = option(
        "", help="unix socket of /healthz /readyz /metrics /debug/podtrace"
    )
    log_level: str = option("info", help="debug, info, warning or error")
    log_format: str = option("text", help="text or json")

    def __post_init__(self) -> None:
        if not self.listen.startswith("unix://"):
            raise ConfigError(f"--listen {self.listen!r}: expected unix:///PATH")

    @property
    def socket(self) -> Path:
        return Path(self.listen.removeprefix("unix://"))

    def backend_options(self) -> dict[str, str]:
        """Every setting as text, for backends."""
        return {name: str(value) for name, value in asdict(self).items()}

    def handlers(self) -> dict[str, str]:
        """Backend names by RuntimeClass handler; "" is the default. Raises: ConfigError."""
        names = {"": self.backend}
        for text in self.runtime_handlers:
            handler, equals, backend = text.partition("=")
            if not (handler and equals and backend):
                raise ConfigError(f"--runtime-handlers {text!r}: expected HANDLER=BACKEND")
            names[handler] = backend
        return names
