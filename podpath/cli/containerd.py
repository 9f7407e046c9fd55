"""The cluster's own containerd: its configuration, and what it leaves behind at the end."""

import subprocess
from pathlib import Path

from podpath.cli.layout import Layout
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


def nerdctl(address: str, namespace: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs nerdctl in one namespace. Raises: CalledProcessError with its output."""
    return subprocess.run(
        (
            binaries.find("nerdctl"),
            f"--address={address}",
            f"--namespace={namespace}",
            *arguments,
        ),
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )


def load_image(address: str, namespace: str, archive: Path) -> None:
    """Loads a docker or OCI archive."""
    nerdctl(address, namespace, "load", "-q", "-i", str(archive))


def remove_containers(address: str, namespace: str) -> int:
    """Removes every container of a namespace; returns how many there were."""
    listed = nerdctl(address, namespace, "ps", "-aq", "--no-trunc").stdout.split()
    if listed:
        nerdctl(address, namespace, "rm", "-f", *listed)
    return len(listed)
