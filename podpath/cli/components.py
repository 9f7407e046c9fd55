"""Which processes a local cluster is made of, and with which flags. Pure: state in, specs out."""

import sys
from pathlib import Path

from podpath.cli.containerd import cni_path
from podpath.cli.layout import ClusterState, Layout, Node
from podpath.cli.processes import ProcessSpec
from podpath.component_base.pki import ClusterPki

HOST = "127.0.0.1"

_PORTS = ("etcd", "etcd-peer", "apiserver", "apiserver-grpc")


def port_names() -> tuple[str, ...]:
    """Ports of the control plane that `up` chooses once."""
    return _PORTS


def control_plane(layout: Layout, state: ClusterState, etcd: str) -> list[ProcessSpec]:
    """etcd, apiserver, scheduler, controllers. `etcd` is the program's path."""
    return [
        _etcd(layout, state, etcd),
        _apiserver(layout, state),
        _client_of_apiserver(
            layout, state, "scheduler", f"--explain-socket={layout.socket('scheduler')}"
        ),
        _controllers(layout, state),
    ]


def node(layout: Layout, state: ClusterState, member: Node) -> list[ProcessSpec]:
    """One node: its runtime shim and its kubelet."""
    return [_shim(layout, state, member), _kubelet(layout, state, member)]


def containerd(layout: Layout, program: str) -> ProcessSpec:
    """The cluster's own containerd; `up` writes its configuration."""
    config = layout.containerd / "config.toml"
    return ProcessSpec("containerd", (program, "--config", str(config)))


def diagnostics_flag(layout: Layout, component: str) -> str:
    return f"--diagnostics-socket={layout.socket(f'{component}-diag')}"


def _tracing_flags(layout: Layout, state: ClusterState) -> tuple[str, ...]:
    """Of every process of ours; `up` writes the file."""
    return (f"--tracing-config-file={layout.tracing}",) if state.tracing_endpoint else ()


def _etcd(layout: Layout, state: ClusterState, program: str) -> ProcessSpec:
    client = f"https://{HOST}:{state.ports['etcd']}"
    peer = f"https://{HOST}:{state.ports['etcd-peer']}"
    pki = ClusterPki(layout.pki)
    return ProcessSpec(
        "etcd",
        (
            program,
            "--name=podpath",
            f"--data-dir={layout.etcd}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=podpath={peer}",
            "--client-cert-auth=true",
            f"--cert-file={pki.etcd_server.certificate}",
            f"--key-file={pki.etcd_server.key}",
            f"--trusted-ca-file={pki.etcd_ca.certificate}",
            "--peer-client-cert-auth=true",
            f"--peer-cert-file={pki.etcd_server.certificate}",
            f"--peer-key-file={pki.etcd_server.key}",
            f"--peer-trusted-ca-file={pki.etcd_ca.certificate}",
            "--snapshot-count=10000",
            "--log-level=warn",
        ),
    )


def _apiserver(layout: Layout, state: ClusterState) -> ProcessSpec:
    pki = ClusterPki(layout.pki)
    return ProcessSpec(
        "apiserver",
        (
            *_python("apiserver"),
            f"--etcd-servers=https://{HOST}:{state.ports['etcd']}",
            f"--etcd-cafile={pki.etcd_ca.certificate}",
            f"--etcd-certfile={pki.apiserver_etcd_client.certificate}",
            f"--etcd-keyfile={pki.apiserver_etcd_client.key}",
            f"--bind-address={HOST}",
            f"--secure-port={state.ports['apiserver']}",
            f"--grpc-port={state.ports['apiserver-grpc']}",
            f"--client-ca-file={pki.ca.certificate}",
            f"--tls-cert-file={pki.apiserver.certificate}",
            f"--tls-private-key-file={pki.apiserver.key}",
            f"--kubelet-certificate-authority={pki.ca.certificate}",
            f"--kubelet-client-certificate={pki.apiserver_kubelet_client.certificate}",
            f"--kubelet-client-key={pki.apiserver_kubelet_client.key}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki.service_account_public_key}",
            f"--service-account-signing-key-file={pki.service_account_key}",
            f"--service-cluster-ip-range={state.service_cidr}",
            diagnostics_flag(layout, "apiserver"),
            *_tracing_flags(layout, state),
        ),
        after=("etcd",),
    )


def _controllers(layout: Layout, state: ClusterState) -> ProcessSpec:
    ca = ClusterPki(layout.pki).ca
    return _client_of_apiserver(
        layout,
        state,
        "controllers",
        f"--root-ca-file={ca.certificate}",
        f"--cluster-signing-cert-file={ca.certificate}",
        f"--cluster-signing-key-file={ca.key}",
    )


def _client_of_apiserver(
    layout: Layout, state: ClusterState, name: str, *flags: str
) -> ProcessSpec:
    argv = (
        *_python(name),
        f"--kubeconfig={layout.component_kubeconfig(name)}",
        diagnostics_flag(layout, name),
        *_tracing_flags(layout, state),
        *flags,
    )
    return ProcessSpec(name, argv, after=("apiserver",))


def _shim(layout: Layout, state: ClusterState, member: Node) -> ProcessSpec:
    flags = [
        f"--listen=unix://{layout.socket(f'{member.name}-cri')}",
        f"--backend={state.runtime}",
        f"--state-dir={layout.node(member.name) / 'runtime'}",
        f"--pod-cidr={pod_cidr(state, member)}",
        diagnostics_flag(layout, f"{member.name}-shim"),
        *_tracing_flags(layout, state),
    ]
    after: tuple[str, ...] = ()
    if state.runtime == "nerdctl":
        flags += [
            f"--containerd-address={state.containerd_address}",
            f"--containerd-namespace={containerd_namespace(state, member)}",
            f"--data-root={nerdctl_data_root(layout, member)}",
            f"--cni-path={cni_path()}",
        ]
        after = ("containerd",)
    return ProcessSpec(f"{member.name}-shim", (*_python("runtime_shim"), *flags), after=after)


def _kubelet(layout: Layout, state: ClusterState, member: Node) -> ProcessSpec:
    own = layout.node(member.name)
    pki = ClusterPki(layout.pki)
    serving = pki.node_serving(member.name)
    return ProcessSpec(
        f"{member.name}-kubelet",
        (
            *_python("kubelet"),
            f"--kubeconfig={layout.component_kubeconfig(member.name)}",
            f"--hostname-override={member.name}",
            f"--node-ip={HOST}",
            f"--address={HOST}",
            f"--port={member.kubelet_port}",
            f"--root-dir={own / 'kubelet'}",
            f"--pod-logs-dir={own / 'pod-logs'}",
            f"--container-logs-dir={own / 'container-logs'}",
            f"--container-runtime-endpoint=unix://{layout.socket(f'{member.name}-cri')}",
            f"--client-ca-file={pki.ca.certificate}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            diagnostics_flag(layout, f"{member.name}-kubelet"),
            *_tracing_flags(layout, state),
        ),
        after=("apiserver", f"{member.name}-shim"),
    )


def pod_cidr(state: ClusterState, member: Node) -> str:
    """The node's /24 of the cluster's /16."""
    first, second, *_ = state.pod_cidr.split(".")
    return f"{first}.{second}.{member.number}.0/24"


def nerdctl_data_root(layout: Layout, member: Node) -> Path:
    """Where the node's shim lets nerdctl keep its state."""
    return layout.node(member.name) / "runtime" / "nerdctl"


def containerd_namespace(state: ClusterState, member: Node) -> str:
    """Each node has its own containerd namespace, so nodes do not see each other's containers."""
    return f"podpath-{state.name}-{member.name}"


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)
