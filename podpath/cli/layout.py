"""Where a local cluster keeps everything: one directory, and what `cluster.json` remembers."""

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_SOCKET_PATH_MAX = 107  # sun_path holds 108 bytes with the closing zero


class ClusterError(Exception):
    """Something a person has to know; the message says what to do."""


def default_root() -> Path:
    """`/var/lib/podpath` for root, else the user's data directory."""
    return Path("/var/lib/podpath") if os.geteuid() == 0 else Path.home() / ".local/share/podpath"


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the cluster. `number` counts from 1 and gives the CNI subnet its place."""

    name: str
    number: int
    kubelet_port: int


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What has to be the same at the next `up`."""

    name: str
    runtime: str
    ports: dict[str, int]
    pod_cidr: str
    service_cidr: str
    nodes: tuple[Node, ...] = ()
    containerd_address: str = ""
    tracing_endpoint: str = ""
    tracing_sampling_rate_per_million: int = 0
    extra: dict[str, str] = field(default_factory=dict)


class Layout:
    """Paths of the cluster `name` below `root`."""

    def __init__(self, root: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ClusterError(
                f"{name!r} is not a cluster name: use up to 32 of a-z, 0-9 and '-', "
                "with a letter or digit first and last"
            )
        self.root = root
        self.name = name
        self.directory = root / name

    @property
    def state_file(self) -> Path:
        return self.directory / "cluster.json"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The admin's, for kubectl."""
        return self.directory / "kubeconfig"

    @property
    def etcd(self) -> Path:
        return self.directory / "etcd"

    @property
    def containerd(self) -> Path:
        return self.directory / "containerd"

    @property
    def tracing(self) -> Path:
        """A TracingConfiguration for every process."""
        return self.directory / "tracing.yaml"

    def component_kubeconfig(self, component: str) -> Path:
        return self.directory / "kubeconfigs" / f"{component}.yaml"

    def log(self, component: str) -> Path:
        return self.directory / "logs" / f"{component}.log"

    def pid(self, component: str) -> Path:
        return self.directory / "run" / f"{component}.pid"

    def socket(self, name: str) -> Path:
        """A unix socket's path. Raises: ClusterError when the kernel could not hold it."""
        path = self.directory / "run" / f"{name}.sock"
        if len(os.fsencode(path)) > _SOCKET_PATH_MAX:
            raise ClusterError(
                f"{path} is longer than a socket path may be ({_SOCKET_PATH_MAX} bytes): "
                "choose a shorter --state-dir or --name"
            )
        return path

    def node(self, name: str) -> Path:
        """One node's own directory: kubelet root, logs, runtime state."""
        return self.directory / "nodes" / name

    def make_directories(self) -> None:
        for path in (self.directory, self.pki, self.etcd):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("logs", "run", "kubeconfigs"):
            (self.directory / name).mkdir(exist_ok=True, mode=0o700)

    def load(self) -> ClusterState | None:
        """What the last `up` remembered; None when there is no such cluster."""
        try:
            tree = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ClusterError(
                f"{self.state_file} cannot be read ({error}); "
                f"`podpath down --name {self.name} --delete` removes the cluster"
            ) from error
        nodes = tuple(Node(**node) for node in tree.pop("nodes"))
        return ClusterState(nodes=nodes, **tree)

    def save(self, state: ClusterState) -> None:
        """Replaces `cluster.json` whole, or not at all."""
        draft = self.state_file.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(state), indent=2) + "\n")
        draft.replace(self.state_file)


def clusters(root: Path) -> list[str]:
    """Names of the clusters below `root`."""
    if not root.is_dir():
        return []
    return sorted(p.parent.name for p in root.glob("*/cluster.json"))
