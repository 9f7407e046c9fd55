"""A whole local cluster for tests, as `podpath up` makes it; gone afterwards whatever happens."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from podpath.cli import down, up
from podpath.cli.layout import ClusterState, Layout
from podpath.cli.processes import Processes
from podpath.component_base import binaries
from podpath.component_base.tracing import TracingConfiguration
from protos.cri import runtime_v1_pb2 as cri
from protos.cri import runtime_v1_pb2_grpc as cri_grpc


class Cluster:
    """What tests do with a cluster."""

    def __init__(self, layout: Layout, options: up.Options) -> None:
        self.layout = layout
        self.options = options
        self.processes = Processes(layout)
        self.state: ClusterState = up.up(layout, options, _quiet)

    def resume(self) -> None:
        """Starts what died, as a second `podpath up` does."""
        up.up(self.layout, self.options, _quiet)

    def kill(self, name: str) -> None:
        """kill -9, and waits until the process is gone."""
        pid = self.processes.pid(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.processes.pid(name) is None, 10, f"end of {name}")

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        done = subprocess.run(
            (binaries.find("kubectl"), f"--kubeconfig={self.layout.kubeconfig}", *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def items(self, *arguments: str) -> list[dict]:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))["items"]

    def containers(self) -> list[cri.Container]:
        """All running containers of all nodes, asked over CRI."""
        return asyncio.run(self._containers())

    async def _containers(self) -> list[cri.Container]:
        found: list[cri.Container] = []
        running = cri.ContainerFilter(
            state=cri.ContainerStateValue(state=cri.ContainerState.CONTAINER_RUNNING)
        )
        for node in self.state.nodes:
            address = f"unix://{self.layout.socket(f'{node.name}-cri')}"
            async with grpc.aio.insecure_channel(address) as channel:
                stub = cri_grpc.RuntimeServiceStub(channel)
                answer = await stub.ListContainers(cri.ListContainersRequest(filter=running))
                found.extend(answer.containers)
        return found


def _quiet(_: str) -> None:
    pass


def wait_until(done: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not after {timeout_s:.0f} s")
        time.sleep(0.1)


@contextmanager
def running_cluster(
    runtime: str,
    nodes: int = 1,
    tracing: TracingConfiguration | None = None,
    without: frozenset[str] = frozenset(),
) -> Iterator[Cluster]:
    """A cluster in a directory short enough for socket paths."""
    root = Path(tempfile.mkdtemp(prefix="pp-"))
    layout = Layout(root, "t")
    try:
        options = up.Options(nodes=nodes, runtime=runtime, tracing=tracing, without=without)
        yield Cluster(layout, options)
    except BaseException:
        _show_logs(layout)
        raise
    finally:
        down.down(layout, delete=True, progress=_quiet)
        shutil.rmtree(root, ignore_errors=True)


def _show_logs(layout: Layout) -> None:
    for log in sorted((layout.directory / "logs").glob("*.log")):
        print(f"--- {log.name}")
        print("\n".join(log.read_text(errors="replace").splitlines()[-15:]))
