"""The cluster's own containerd: its configuration, and what it leaves behind at the end."""

import subprocess
from pathlib import Path

import orjson

from podpath.cli.layout import ClusterError, Layout
from podpath.component_base import binaries


def address(layout: Layout) -> Path:
    return layout.socket("containerd")


def write_config(layout: Layout) -> None:
    """All state below the cluster's directory; the CRI plugin off, because our shim serves CRI."""
    layout.containerd.mkdir(exist_ok=True, mode=0o711)
    (layout.containerd / "config.toml").write_text(
        f"""version = 2
root = "{layout.containerd / "root"}"
state = "{layout.containerd / "state"}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
  address = "{address(layout)}"

[ttrpc]
  address = "{address(layout)}.ttrpc"

[debug]
  level = "warn"
"""
    )


def nerdctl(
    address: str, namespace: str, data_root: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Runs nerdctl in one namespace. Raises: ClusterError with what nerdctl said."""
    argv = (
        binaries.find("nerdctl"),
        f"--address={address}",
        f"--namespace={namespace}",
        f"--data-root={data_root}",
        f"--cni-path={cni_path()}",
        f"--cni-netconfpath={data_root / 'cni'}",
        *arguments,
    )
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise ClusterError(f"nerdctl {' '.join(arguments)}: {done.stderr.strip()}")
    return done


def cni_path() -> str:
    """Where the CNI plugins are: Debian's directory, or everybody else's."""
    places = ("/usr/lib/cni", "/opt/cni/bin")
    return next((p for p in places if (Path(p) / "bridge").exists()), places[0])


def write_network(data_root: Path, subnet: str) -> str:
    """Gives nerdctl a default network of its own; returns its bridge's name.

    Without it nerdctl makes one with a fixed subnet that another cluster may hold.
    """
    directory = data_root / "cni"
    directory.mkdir(parents=True, exist_ok=True)
    bridge = "ppbare0"
    ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}]], "dataDir": str(directory)}
    network = {
        "cniVersion": "1.0.0",
        "name": "bridge",
        "nerdctlID": "17f29b073143d8cd97b5bbe492bdeffec1c5fee55cc1fe2112c8b9335f8b6121",
        "nerdctlLabels": {"nerdctl/default-network": "true"},
        "plugins": [{"type": "bridge", "bridge": bridge, "isGateway": True, "ipam": ipam}],
    }
    (directory / "nerdctl-bridge.conflist").write_bytes(orjson.dumps(network))
    return bridge
