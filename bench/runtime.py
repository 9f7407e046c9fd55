"""What containers cost through the shim, beside the bare nerdctl commands: `make bench-runtime`.

    one at a time   RunPodSandbox + CreateContainer + StartContainer, and the two `nerdctl run -d`
                    (a pause container on a bridge, a container that joins it) that do the same,
                    taken in turns
    at once         as many Pods at the same moment
    listing         ListContainers and ListPodSandbox over the socket, with every container there is
    memory          of the shim and of the log daemon, empty and with running containers
    growth          of the shim's memory over create/remove cycles

CPU seconds are those of everything that this program starts: containerd, its shims, nerdctl, runc.
Figures depend on the machine and the hour; only those of one run can be compared.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from podpath.component_base import image_tar
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim import cgroups
from tests.support import containerd
from tests.support.addresses import free_pod_cidr
from tests.support.shim_process import ShimProcess, shim_on
from tests.support.shims import Cri, container_config, sandbox_config

NAMESPACE = "bench"
REMOVED_AT_ONCE = 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.runtime", description=__doc__)
    parser.add_argument("--one", type=int, default=20, help="Pods one at a time")
    parser.add_argument("--at-once", type=int, default=20, help="Pods at the same moment")
    parser.add_argument("--listed", type=int, default=200, help="containers in the listing")
    parser.add_argument("--running", type=int, default=100, help="running ones among them")
    parser.add_argument("--cycles", type=int, default=200, help="create/remove cycles")
    options = parser.parse_args()
    if problem := containerd.available():
        print(f"cannot run here: {problem}")
        return 2
    with tempfile.TemporaryDirectory(prefix="pp-bench-") as directory, _own_cgroup() as cgroup:
        root = Path(directory)
        with containerd.running(root / "containerd") as engine:
            shim = shim_on(root, engine, NAMESPACE)
            shim.start()
            try:
                asyncio.run(_measure(shim, _Bare(engine), cgroup, options))
            finally:
                shim.teardown()
    return 0


async def _measure(
    shim: ShimProcess, bare: "_Bare", cgroup: str, options: argparse.Namespace
) -> None:
    async with shim.client() as client:
        if options.one:
            with bare:
                await _one_at_a_time(client, bare, options.one)
        if options.at_once:
            await _at_once(client, cgroup, options.at_once)
        if options.listed:
            await _many(client, shim, options.running, options.listed)
        if options.cycles:
            await _cycles(client, shim, options.cycles)


# -- one at a time ---------------------------------------------------------------------------------


class _Bare:
    """The same Pod by nerdctl alone."""

    def __init__(self, engine: containerd.Containerd) -> None:
        self._engine = engine

    def __enter__(self) -> "_Bare":
        self._nerdctl("network", "create", "podnet", f"--subnet={free_pod_cidr()}")
        return self

    def __exit__(self, *_: object) -> None:
        self._nerdctl("network", "rm", "podnet")

    def run(self) -> None:
        self._nerdctl(
            *("run", "-d", "--name=pause", "--net=podnet", "--ipc=shareable", "--restart=no"),
            image_tar.PAUSE_IMAGE.names[0],
        )
        self._nerdctl(
            *("run", "-d", "--name=main", "--net=container:pause", "--ipc=container:pause"),
            *("--restart=no", image_tar.BUSYBOX_IMAGE.names[0], "sleep", "1000"),
        )

    def remove(self) -> None:
        self._nerdctl("rm", "--force", "main", "pause")

    def _nerdctl(self, *words: str) -> None:
        own_networks = f"--cni-netconfpath={self._engine.root}/cni"
        self._engine.nerdctl(NAMESPACE, "--cgroup-manager=cgroupfs", own_networks, *words)


async def _one_at_a_time(client: Cri, bare: _Bare, count: int) -> None:
    names = ("RunPodSandbox", "CreateContainer", "StartContainer", "all three", "nerdctl run -d x2")
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(count):
        begun = time.monotonic()
        bare.run()
        times["nerdctl run -d x2"].append(time.monotonic() - begun)
        bare.remove()
        sandbox = sandbox_config(f"one-{number}")
        moments = [time.monotonic()]
        sandbox_id = await client.run_sandbox(sandbox)
        moments.append(time.monotonic())
        container_id = await client.create(sandbox_id, container_config(), sandbox)
        moments.append(time.monotonic())
        await client.start(container_id)
        moments.append(time.monotonic())
        for name, (before, after) in zip(names, itertools.pairwise(moments), strict=False):
            times[name].append(after - before)
        times["all three"].append(moments[-1] - moments[0])
        await client.remove_sandbox(sandbox_id)
    for name, values in times.items():
        print(f"one at a time: {name}: {_milliseconds(values)}")
    ratio = statistics.median(times["all three"]) / statistics.median(times["nerdctl run -d x2"])
    print(f"one at a time: {ratio:.2f} x the bare commands")


# -- at once ---------------------------------------------------------------------------------------


async def _at_once(client: Cri, cgroup: str, count: int) -> None:
    begun, cpu = time.monotonic(), _cpu_s(cgroup)
    took: list[float] = []

    async def pod(number: int) -> None:
        await client.running(sandbox_config(f"pod-{number}"), container_config())
        took.append(time.monotonic() - begun)

    await asyncio.gather(*(pod(number) for number in range(count)))
    used = f"{_cpu_s(cgroup) - cpu:.1f} CPU s" if cgroup else "CPU not measured"
    print(f"{count} Pods at once: {_milliseconds(took)}, {used}")
    await _remove_all(client)


# -- many ------------------------------------------------------------------------------------------


async def _many(client: Cri, shim: ShimProcess, running: int, listed: int) -> None:
    daemon = _log_daemon(shim)
    empty = shim.resident_kib()
    sandbox = sandbox_config("many")
    sandbox_id = await client.run_sandbox(sandbox)

    async def add(number: int) -> None:
        config = container_config(f"c-{number}")
        container_id = await client.create(sandbox_id, config, sandbox)
        if number < running:
            await client.start(container_id)

    await _few_at_once([lambda n=number: add(n) for number in range(listed)], 4)
    daemon_kib = _resident_kib(daemon) if daemon else 0
    print(
        f"memory: shim {empty / 1024:.1f} MiB when empty, {shim.resident_kib() / 1024:.1f} MiB "
        f"with {running} running containers and {listed - running} created ones; "
        f"log daemon {daemon_kib / 1024:.1f} MiB"
    )
    for name, call in (
        ("ListContainers", lambda: client.service.ListContainers(cri.ListContainersRequest())),
        ("ListPodSandbox", lambda: client.service.ListPodSandbox(cri.ListPodSandboxRequest())),
    ):
        times = []
        for _ in range(50):
            begun = time.monotonic()
            await call()
            times.append(time.monotonic() - begun)
        print(f"listing of {listed} containers: {name}: {_milliseconds(times)}")
    await _remove_all(client)


def _log_daemon(shim: ShimProcess) -> int:
    """Its pid, or 0."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(shim.state).encode() in words and any(b"log_daemon" in w for w in words):
                return int(entry)
    return 0


# -- growth ----------------------------------------------------------------------------------------


async def _cycles(client: Cri, shim: ShimProcess, count: int) -> None:
    warm_up = count // 4

    async def cycle(number: int) -> None:
        sandbox_id, container_id = await client.running(
            sandbox_config(f"cycle-{number}"), container_config("main", "true")
        )
        await client.exited(container_id, 60)
        await client.remove_sandbox(sandbox_id)

    for number in range(warm_up):
        await cycle(number)
    before, files = shim.resident_kib(), shim.open_files()
    for number in range(warm_up, count):
        await cycle(number)
    print(
        f"growth: {shim.resident_kib() - before} KiB and {shim.open_files() - files} open files "
        f"over {count - warm_up} cycles, after {warm_up} to warm up"
    )


# -- below -----------------------------------------------------------------------------------------


async def _few_at_once(calls: Sequence[Callable[[], Awaitable[None]]], at_once: int) -> None:
    gate = asyncio.Semaphore(at_once)

    async def gated(call: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await call()

    await asyncio.gather(*(gated(call) for call in calls))


async def _remove_all(client: Cri) -> None:
    ids = [sandbox.id for sandbox in await client.sandboxes()]
    await _few_at_once([lambda i=i: client.remove_sandbox(i) for i in ids], REMOVED_AT_ONCE)


def _milliseconds(seconds: Sequence[float]) -> str:
    values = sorted(value * 1000 for value in seconds)
    return f"p50 {statistics.median(values):.1f} ms, max {values[-1]:.1f} ms"


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@contextmanager
def _own_cgroup() -> Iterator[str]:
    """One that counts the CPU time of this process and its children; "" if none can be made."""
    path = f"/pp-bench-{os.getpid()}"
    base = cgroups.ROOT if cgroups.is_v2() else cgroups.ROOT / "cpuacct"
    directory = base / path.lstrip("/")
    try:
        directory.mkdir()
        (directory / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        yield ""
        return
    try:
        yield path
    finally:
        (base / "cgroup.procs").write_text(str(os.getpid()))
        subprocess.run(["rmdir", str(directory)], capture_output=True, check=False)


def _cpu_s(cgroup: str) -> float:
    return (cgroups.usage(cgroup).cpu_ns or 0) / 1e9 if cgroup else 0.0


if __name__ == "__main__":
    sys.exit(main())
