"""The two stacks under load: podpath, and the real control plane where its programs are built.

Both run on loopback with TLS, a static token for the load client, etcd on disk, and simulated
nodes: podpath's hollow kubelets against kwok's.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from podpath.cli import components, diagnostics, network
from podpath.cli.layout import ClusterState, Layout
from podpath.client import kubeconfig
from podpath.component_base import pki
from podpath.component_base.clock import SystemClock

_KWOK = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {
        "manageAllNodes": False,
        "manageNodesWithAnnotationSelector": "kwok.x-k8s.io/node=fake",
        "nodeLeaseDurationSeconds": 40,
        "podPlayStageParallelism": 64,
        "nodePlayStageParallelism": 64,
    },
}

PEERS = ("kube-apiserver", "kube-scheduler", "kwok")
_READY_S = 90.0


@dataclass
class Stack:
    """A running control plane with its nodes."""

    name: str
    server: str
    token: str
    pids: dict[str, int] = field(default_factory=dict)
    kwok_nodes: bool = False


class _Processes:
    """Children of this run, ended by pid whatever happens."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, *argv: str) -> int:
        with (self._directory / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        self._children.append((name, child))
        return child.pid

    def check(self) -> None:
        for name, child in self._children:
            if child.poll() is not None:
                tail = (self._directory / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended with {child.returncode}:\n{tail}")

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_S
        while not done():
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} is not ready after {_READY_S:.0f} s")
            time.sleep(0.05)

    def stop(self) -> None:
        for _, child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
        for _, child in self._children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextmanager
def podpath(directory: Path, etcd: str, nodes: int) -> Iterator[Stack]:
    """podpath's own processes, with `nodes` hollow kubelets in one process."""
    layout = Layout(directory, "podpath")
    layout.make_directories()
    names = components.port_names()
    state = ClusterState(
        name="podpath",
        runtime="fake",
        ports=dict(zip(names, network.free_ports(len(names)), strict=True)),
        pod_cidr="10.128.0.0/16",
        service_cidr="10.96.0.0/16",
    )
    token = secrets.token_hex(16)
    files = pki.ensure_cluster_pki(layout.pki, pki.ClusterNames(), SystemClock())
    (layout.directory / "tokens.csv").write_text(f'{token},podload,podload,"system:masters"\n')
    users = {"scheduler": "scheduler", "controllers": "controllers", "hollow": "admin"}
    for component, user in users.items():
        pair = files.user(user)
        kubeconfig.write(
            layout.component_kubeconfig(component),
            kubeconfig.KubeConfig(
                server=f"https://127.0.0.1:{state.ports['apiserver']}",
                grpc_address=f"127.0.0.1:{state.ports['apiserver-grpc']}",
                ca=files.ca.certificate.read_bytes(),
                cert=pair.certificate.read_bytes(),
                key=pair.key.read_bytes(),
            ),
        )
    stack = Stack("podpath", f"https://127.0.0.1:{state.ports['apiserver']}", token)
    processes = _Processes(layout.directory / "logs")

    def ready(component: str) -> bool:
        return diagnostics.get(layout.socket(f"{component}-diag"), "/readyz")[0] == 200

    try:
        for spec in components.control_plane(layout, state, etcd):
            extra = (
                (f"--token-auth-file={layout.directory / 'tokens.csv'}",)
                if spec.name == "apiserver"
                else ()
            )
            stack.pids[spec.name] = processes.start(spec.name, *spec.argv, *extra)
            if spec.name in ("apiserver", "scheduler"):
                processes.wait(spec.name, lambda name=spec.name: ready(name))
        stack.pids["nodes"] = processes.start(
            "nodes",
            *(sys.executable, "-m", "podpath.hollow"),
            f"--kubeconfig={layout.component_kubeconfig('hollow')}",
            f"--nodes={nodes}",
            components.diagnostics_flag(layout, "hollow"),
        )
        processes.wait("hollow nodes", lambda: ready("hollow"))
        yield stack
    finally:
        processes.stop()


@contextmanager
def kubernetes(directory: Path, etcd: str, peers: Path) -> Iterator[Stack]:
    """The real kube-apiserver and kube-scheduler with kwok; nodes are made by podload."""
    directory.mkdir(parents=True)
    etcd_port, peer_port, port, sched_port = network.free_ports(4)
    token = secrets.token_hex(16)
    files = pki.ensure_cluster_pki(directory / "pki", pki.ClusterNames(), SystemClock())
    (directory / "tokens.csv").write_text(f'{token},podload,podload,"system:masters"\n')
    server = f"https://127.0.0.1:{port}"
    config = directory / "kubeconfig"
    kubeconfig.write(
        config,
        kubeconfig.KubeConfig(server=server, ca=files.ca.certificate.read_bytes(), token=token),
    )
    (directory / "scheduler.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kubescheduler.config.k8s.io/v1",
                "kind": "KubeSchedulerConfiguration",
                "clientConnection": {"kubeconfig": str(config), "qps": 5000, "burst": 10000},
                "leaderElection": {"leaderElect": False},
            }
        )
    )
    (directory / "kwok.yaml").write_text(yaml.safe_dump(_KWOK))
    processes = _Processes(directory)
    stack = Stack("kubernetes", server, token, kwok_nodes=True)
    try:
        stack.pids["etcd"] = processes.start(
            "etcd", *_plain_etcd(directory, etcd, etcd_port, peer_port)
        )
        stack.pids["apiserver"] = processes.start(
            "apiserver",
            str(peers / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={files.apiserver.certificate}",
            f"--tls-private-key-file={files.apiserver.key}",
            f"--client-ca-file={files.ca.certificate}",
            f"--token-auth-file={directory / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={files.service_account_public_key}",
            f"--service-account-signing-key-file={files.service_account_key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
        )
        podload = Path(os.environ.get("PODLOAD", str(peers / "podload")))
        subprocess.run(
            (podload, "ready", "-server", server, "-token", token),
            check=True,
            timeout=120,
            capture_output=True,
        )
        stack.pids["scheduler"] = processes.start(
            "scheduler",
            str(peers / "kube-scheduler"),
            f"--config={directory / 'scheduler.yaml'}",
            f"--secure-port={sched_port}",
            "--bind-address=127.0.0.1",
        )
        stack.pids["nodes"] = processes.start(
            "nodes",
            str(peers / "kwok"),
            f"--kubeconfig={config}",
            f"--config={directory / 'kwok.yaml'}",
        )
        yield stack
    finally:
        processes.stop()


def _plain_etcd(directory: Path, etcd: str, port: int, peer_port: int) -> tuple[str, ...]:
    return (
        etcd,
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{port}",
        f"--advertise-client-urls=http://127.0.0.1:{port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        "--log-level=warn",
    )
