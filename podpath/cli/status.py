"""`podpath status`: the processes of a cluster and how they are."""

from dataclasses import asdict, dataclass
from typing import Any

from podpath.cli import diagnostics
from podpath.cli.layout import ClusterState, Layout
from podpath.cli.processes import Processes


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process. `state` is ready, running, not ready or stopped."""

    name: str
    pid: int | None
    state: str
    log: str


def status(layout: Layout) -> tuple[ClusterState | None, list[ProcessStatus]]:
    """The cluster's record (None if there is none) and its processes."""
    processes = Processes(layout)
    found = [_status(layout, processes, name) for name in processes.names()]
    return layout.load(), found


def as_tree(state: ClusterState, found: list[ProcessStatus], layout: Layout) -> dict[str, Any]:
    """For `-o json`."""
    return {
        "name": state.name,
        "runtime": state.runtime,
        "kubeconfig": str(layout.kubeconfig),
        "ports": state.ports,
        "nodes": [node.name for node in state.nodes],
        "processes": [asdict(process) for process in found],
    }


def _status(layout: Layout, processes: Processes, name: str) -> ProcessStatus:
    pid = processes.pid(name)
    log = str(layout.log(name))
    if pid is None:
        return ProcessStatus(name, None, "stopped", log)
    socket = layout.socket(f"{name}-diag")
    if not socket.exists():
        return ProcessStatus(name, pid, "running", log)
    code, _ = diagnostics.get(socket, "/readyz")
    return ProcessStatus(name, pid, "ready" if code == 200 else "not ready", log)
