"""Logs are rotated under a container that writes on: not a line is lost."""

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubelet.container_log_manager import ContainerLogManager, LogPolicy, older_logs
from kubelet.cri_client import GrpcCri
from kubelet.log_reader import LogOptions, read_log
from podpath.component_base.clock import SystemClock
from protos.cri import runtime_v1_pb2 as cri
from tests.support import containerd
from tests.support.shim_process import ShimProcess, shim_on
from tests.support.shims import container_config, sandbox_config

pytestmark = pytest.mark.e2e

NUMBERS = 200_000
SCRIPT = """
i=0
while [ $i -lt 20 ]; do seq $((i * 10000 + 1)) $(((i + 1) * 10000)); i=$((i + 1)); sleep 0.25; done
"""
POLICY = LogPolicy(max_bytes=1 << 20, max_files=100, period_s=0.2)


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[ShimProcess]:
    if problem := containerd.available():
        pytest.skip(problem)
    with (
        containerd.running(tmp_path / "containerd") as engine,
        shim_on(tmp_path, engine, "rotation").running() as process,
    ):
        yield process


async def test_no_line_is_lost(shim: ShimProcess, tmp_path: Path) -> None:
    path = tmp_path / "logs/main/0.log"
    sandbox = sandbox_config("talks", log_directory=str(tmp_path / "logs"))
    config = container_config("main", "sh", "-c", SCRIPT)
    clock = SystemClock()
    async with shim.client() as client:
        runtime = GrpcCri(shim.endpoint)
        ended = asyncio.Event()

        def running() -> list[cri.ContainerStatus]:
            return [cri.ContainerStatus(id=container_id, log_path=str(path))]

        async def follow() -> bytes:
            pieces = read_log(str(path), LogOptions(follow=True), clock, lambda: not ended.is_set())
            return b"".join([piece async for piece in pieces])

        _, container_id = await client.running(sandbox, config)
        manager = asyncio.ensure_future(ContainerLogManager(runtime, running, POLICY, clock).run())
        async with asyncio.timeout(60):
            while not path.exists():
                await asyncio.sleep(0.01)
        following = asyncio.ensure_future(follow())
        await client.exited(container_id, within_s=120)
        manager.cancel()
        await asyncio.gather(manager, return_exceptions=True)
        ended.set()
        followed = await following
        await runtime.close()
    files = [*sorted(older_logs(path)), path]
    assert len(files) > 2
    texts = [
        gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes() for f in files
    ]
    kept = [int(line.rsplit(b" ", 1)[1]) for line in b"".join(texts).splitlines()]
    assert kept == list(range(1, NUMBERS + 1))
    # Whoever follows may have begun after the first rotations, and then sees all that came later.
    shown = [int(line) for line in followed.splitlines()]
    assert shown == list(range(shown[0], NUMBERS + 1))
