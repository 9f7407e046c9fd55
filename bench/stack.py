"""The two stacks under load: podpath, and the real control plane where its programs are built.

Both run on loopback with TLS, a static token for the load client, etcd on disk, and simulated
nodes: podpath's hollow kubelets against kwok's.
"""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench import kubernetes as real
from bench.processes import Processes
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


@dataclass
class Stack:
    """A running control plane with its nodes."""

    name: str
    server: str
    token: str
    pids: dict[str, int] = field(default_factory=dict)
    kwok_nodes: bool = False


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
    processes = Processes(layout.directory / "logs")

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
    with real.control_plane(directory, etcd, peers, secrets.token_hex(16)) as plane:
        kwok = directory / "kwok.yaml"
        kwok.write_text(yaml.safe_dump(_KWOK))
        plane.pids["nodes"] = plane.processes.start(
            "nodes",
            str(peers / "kwok"),
            f"--kubeconfig={plane.kubeconfig}",
            f"--config={kwok}",
        )
        yield Stack("kubernetes", plane.server, plane.token, plane.pids, kwok_nodes=True)
