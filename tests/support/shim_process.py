"""`python -m runtime_shim` as a process of its own, on a containerd of one's own or on the fake."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc.aio

from podpath.component_base import image_tar
from protos.cri import runtime_v1_pb2_grpc as services
from tests.support.addresses import free_pod_cidr
from tests.support.containerd import Containerd
from tests.support.shims import Cri

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
"""A shim that is asked to end finishes the calls it is in."""
TEARDOWN_TIMEOUT_S = 120.0


@dataclass
class ShimProcess:
    """A shim with given flags; can be killed and started again."""

    directory: Path
    flags: Sequence[str]
    namespace: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.directory / "shim.log"

    @property
    def socket(self) -> Path:
        return self.directory / "cri.sock"

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def argv(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "runtime_shim",
            f"--listen={self.endpoint}",
            f"--state-dir={self.state}",
            "--log-level=debug",
            *self.flags,
        ]

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv(), stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log.read_text()[-3000:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        """True once it listens: the socket's file is there a moment before."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_TIMEOUT_S)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Until the block ends; then nothing of it is left."""
        self.start()
        try:
            yield self
        finally:
            self.teardown()

    def teardown(self) -> None:
        """Removes all it has made. Raises: RuntimeError if something stays, because a bridge that
        is left behind would make later tests fail."""
        self.stop()
        argv = [*self.argv(), "--teardown"]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=TEARDOWN_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"teardown: {done.stderr[-3000:]}")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Cri]:
        async with grpc.aio.insecure_channel(f"unix:{self.socket}") as channel:
            runtime = services.RuntimeServiceStub(channel)
            yield Cri(runtime, services.ImageServiceStub(channel))

    def children_seen(self) -> int:
        """Grows with every child that it starts and that ends: page faults of waited-for children,
        of which the shortest program has many."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[8])  # cminflt, see proc(5)

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_kib(self) -> int:
        """Its memory, VmRSS."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def shim_on(
    root: Path, engine: Containerd, namespace: str, *flags: str, images: bool = True
) -> ShimProcess:
    """A shim on a containerd, not started; with `images` busybox and pause are loaded for it."""
    for image in (image_tar.BUSYBOX_IMAGE, image_tar.PAUSE_IMAGE) if images else ():
        engine.load(namespace, image)
    given = (
        f"--containerd-address={engine.address}",
        f"--containerd-namespace={namespace}",
        f"--pod-cidr={free_pod_cidr()}",
        *flags,
    )
    return ShimProcess(root, given, namespace)
