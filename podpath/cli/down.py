"""`podpath down`: ends a cluster's processes; `--delete` also removes what it kept."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from podpath.cli import components
from podpath.cli.layout import ClusterState, Layout
from podpath.cli.processes import Processes

# Those who write go before those who store.
_ORDER = ("-kubelet", "controllers", "scheduler", "-shim", "apiserver", "etcd", "containerd")


def down(layout: Layout, *, delete: bool, progress: Callable[[str], None]) -> bool:
    """Stops everything; containers go on running unless `delete`. False if nothing was there."""
    processes = Processes(layout)
    state = layout.load()
    names = processes.names()
    if state is None and not names:
        return False
    stopping = sorted(names, key=_place)
    if delete and state is not None and state.runtime == "nerdctl":
        _remove_nodes(layout, state, processes, progress)
    for name in stopping:
        if processes.stop(name, signal.SIGTERM):
            progress(f"stopped {name}")
    if delete:
        _unmount_below(layout.directory)
        shutil.rmtree(layout.directory, ignore_errors=False)
        progress(f"removed {layout.directory}")
    return True


def _place(name: str) -> int:
    return next((i for i, ending in enumerate(_ORDER) if name.endswith(ending)), 0)


def _remove_nodes(
    layout: Layout, state: ClusterState, processes: Processes, progress: Callable[[str], None]
) -> None:
    """Ends each node's kubelet and shim, then lets the shim remove what they made."""
    for member in state.nodes:
        processes.stop(f"{member.name}-kubelet")  # or it would start its containers again
        shim = f"{member.name}-shim"
        processes.stop(shim)
        spec = components.node(layout, state, member)[0]
        done = subprocess.run(
            (*spec.argv, "--teardown"), capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode == 0:
            progress(f"removed the containers and the network of {member.name}")
        else:
            progress(f"{member.name} could not be removed whole: {done.stderr.strip()}")


def _unmount_below(directory: Path) -> None:
    """tmpfs volumes and container roots that a killed process left mounted."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted(mounts, reverse=True):
        if mount.startswith(f"{directory}/"):
            subprocess.run(("umount", "-l", mount), check=False, capture_output=True)
