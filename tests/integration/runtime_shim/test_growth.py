"""A shim as a process, on the fake: 2,000 lives leave no memory, no files and no journal behind."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from protos.cri import runtime_v1_pb2 as cri
from tests.support.shim_process import ShimProcess
from tests.support.shims import IMAGE, Cri, container_config, sandbox_config

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WARM_UP, LIVES, AT_ONCE = 500, 2000, 10
MAY_GROW_KIB = 8 * 1024
"""Less than 2,000 records with their journal entries would take; the trace ring fills a while, and
an allocator has whims."""


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[ShimProcess]:
    process = ShimProcess(tmp_path, ["--backend=fake", "--log-level=warning"])
    process.start()
    yield process
    process.stop()


async def lives(client: Cri, numbers: range, log_directory: Path) -> None:
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            sandbox = sandbox_config(f"pod-{number}", log_directory=str(log_directory))
            sandbox.labels["payload"] = "x" * 1000
            sandbox_id, container_id = await client.running(sandbox, container_config())
            await client.stop(container_id)
            await client.remove_sandbox(sandbox_id)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def test_two_thousand_lives(shim: ShimProcess, tmp_path: Path) -> None:
    async with shim.client() as client:
        await client.images.PullImage(cri.PullImageRequest(image=cri.ImageSpec(image=IMAGE)))
        await lives(client, range(WARM_UP), tmp_path / "logs")
        before, files = shim.resident_kib(), shim.open_files()
        await lives(client, range(WARM_UP, WARM_UP + LIVES), tmp_path / "logs")
        assert shim.resident_kib() < before + MAY_GROW_KIB
        assert shim.open_files() <= files + 1
        assert (shim.state / "journal").stat().st_size < 5 << 20
