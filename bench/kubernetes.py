"""The real control plane on this machine: kube-apiserver and kube-scheduler over their own etcd.

Its programs are not built here. They lie in one directory: `--peers`, else $PODPATH_PEERS, else
where the PATH finds kube-apiserver.
"""

import argparse
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import yaml

from bench.processes import Processes
from podpath.cli import network
from podpath.client import kubeconfig
from podpath.component_base import binaries, pki
from podpath.component_base.clock import SystemClock

PEERS_VARIABLE = "PODPATH_PEERS"


class PeersMissingError(Exception):
    """The message names the programs, and says how to tell where they are."""


@dataclass(frozen=True)
class ControlPlane:
    """What runs, and how to reach it as `system:masters`."""

    server: str
    token: str
    ca: Path
    kubeconfig: Path
    processes: Processes
    pids: dict[str, int] = field(default_factory=dict)


def add_peers_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--peers",
        type=Path,
        default=os.environ.get(PEERS_VARIABLE),
        metavar="DIR",
        help=f"where the real control plane's programs are (${PEERS_VARIABLE}); default: the PATH",
    )


def find_peers(directory: Path | None, *names: str) -> Path:
    """The directory that has all programs `names`. Raises: PeersMissingError."""
    if directory is None:
        with suppress(binaries.BinaryNotFoundError):
            directory = Path(binaries.find("kube-apiserver")).parent
    missing = [n for n in names if directory is None or not os.access(directory / n, os.X_OK)]
    if directory is None or missing:
        place = directory or "the PATH"
        raise PeersMissingError(
            f"{', '.join(missing)} not found in {place}: --peers DIR or {PEERS_VARIABLE}=DIR tells "
            "where the real programs are"
        )
    return directory.absolute()


@contextmanager
def control_plane(
    directory: Path,
    etcd: str,
    peers: Path,
    token: str,
    *,
    apiserver_flags: tuple[str, ...] = (),
    scheduler_flags: tuple[str, ...] = (),
    scheduler_configuration: Mapping[str, Any] | None = None,
) -> Iterator[ControlPlane]:
    """Runs while the block does; logs are `directory`'s NAME.log. Certificates, a token of
    `system:masters` and a kubeconfig with it are made in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    etcd_port, peer_port, port, scheduler_port = network.free_ports(4)
    files = pki.ensure_cluster_pki(directory / "pki", pki.ClusterNames(), SystemClock())
    tokens, config = directory / "tokens.csv", directory / "kubeconfig"
    tokens.write_text(f'{token},peer,peer,"system:masters"\n')
    server = f"https://127.0.0.1:{port}"
    ca = files.ca.certificate
    kubeconfig.write(config, kubeconfig.KubeConfig(server=server, ca=ca.read_bytes(), token=token))
    processes = Processes(directory)
    plane = ControlPlane(server, token, ca, config, processes)
    try:
        plane.pids["etcd"] = processes.start(
            "etcd",
            etcd,
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{etcd_port}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd_port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            "--log-level=warn",
        )
        plane.pids["apiserver"] = processes.start(
            "apiserver",
            str(peers / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={files.apiserver.certificate}",
            f"--tls-private-key-file={files.apiserver.key}",
            f"--client-ca-file={ca}",
            f"--token-auth-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={files.service_account_public_key}",
            f"--service-account-signing-key-file={files.service_account_key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            *apiserver_flags,
        )
        processes.wait("kube-apiserver", lambda: _ready(plane))
        plane.pids["scheduler"] = processes.start(
            "scheduler",
            str(peers / "kube-scheduler"),
            f"--config={_scheduler_configuration(directory, config, scheduler_configuration)}",
            f"--secure-port={scheduler_port}",
            "--bind-address=127.0.0.1",
            *scheduler_flags,
        )
        yield plane
    finally:
        processes.stop()


def _scheduler_configuration(directory: Path, config: Path, more: Mapping[str, Any] | None) -> Path:
    tree = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(config), "qps": 5000, "burst": 10000},
        "leaderElection": {"leaderElect": False},
        **(more or {}),
    }
    path = directory / "scheduler.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def _ready(plane: ControlPlane) -> bool:
    connection = HTTPSConnection(
        plane.server.removeprefix("https://"),
        context=ssl.create_default_context(cafile=str(plane.ca)),
        timeout=5,
    )
    try:
        connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {plane.token}"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
