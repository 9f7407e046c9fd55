"""`podpath down`: ends a cluster's processes; `--delete` also removes what it kept."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from podpath.cli import components, containerd
from podpath.cli.layout import ClusterState, Layout
from podpath.cli.processes import Processes
from podpath.component_base import binaries

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
        for name in stopping:
            if name.endswith("-kubelet"):
                processes.stop(name)  # or it would start its containers again
        _remove_containers(layout, state, progress)
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


def _remove_containers(
    layout: Layout, state: ClusterState, progress: Callable[[str], None]
) -> None:
    for member in state.nodes:
        namespace = components.containerd_namespace(state, member)
        try:
            count = containerd.remove_containers(state.containerd_address, namespace)
        except (subprocess.SubprocessError, binaries.BinaryNotFoundError) as error:
            progress(f"containers of {member.name} could not be removed: {error}")
            continue
        if count:
            progress(f"removed {count} containers of {member.name}")


def _unmount_below(directory: Path) -> None:
    """tmpfs volumes and container roots that a killed process left mounted."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted(mounts, reverse=True):
        if mount.startswith(f"{directory}/"):
            subprocess.run(("umount", "-l", mount), check=False, capture_output=True)
