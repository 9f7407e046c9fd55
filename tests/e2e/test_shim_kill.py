"""kill -9 of the shim at random moments of random lives: all is found again, nothing orphaned."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from podpath.component_base import image_tar
from protos.cri import runtime_v1_pb2 as cri
from tests.support import containerd
from tests.support.shim_process import ShimProcess, shim_on
from tests.support.shims import Cri, container_config, sandbox_config

pytestmark = pytest.mark.e2e

SEED = int(os.environ.get("SEED", "7"))
EXIT_CODE = 42
FLOOD_LINES = 2_000_000
SETTLE_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[containerd.Containerd]:
    if problem := containerd.available():
        pytest.skip(problem)
    with containerd.running(tmp_path_factory.mktemp("engine") / "containerd") as running:
        for image in (image_tar.BUSYBOX_IMAGE, image_tar.PAUSE_IMAGE):
            running.load("kill", image)
        yield running


@pytest.fixture
def shim(engine: containerd.Containerd, tmp_path: Path) -> Iterator[ShimProcess]:
    with shim_on(tmp_path, engine, "kill", images=False).running() as process:
        yield process


async def life(client: Cri, number: int, dice: random.Random) -> None:
    """A Pod's life as a kubelet drives it, until the shim is killed under it."""
    shared = dice.random() < 0.4
    sandbox = sandbox_config(f"pod-{number}", pid=cri.POD if shared else cri.CONTAINER)
    config = container_config(
        "main", "sh", "-c", dice.choice((f"exit {EXIT_CODE}", "sleep 1000", "sleep 0.3; exit 42"))
    )
    with contextlib.suppress(grpc.aio.AioRpcError):
        sandbox_id, container_id = await client.running(sandbox, config)
        await asyncio.sleep(dice.random() * 0.3)
        if dice.random() < 0.6:
            await client.stop(container_id)
            await client.remove(container_id)
        if dice.random() < 0.6:
            await client.stop_sandbox(sandbox_id)
            await client.remove_sandbox(sandbox_id)


async def check(client: Cri, shim: ShimProcess, engine: containerd.Containerd) -> None:
    """Every container is known in its right state, and nothing else exists."""
    containers = {c.id: c for c in await client.containers()}
    sandboxes = {s.id for s in await client.sandboxes()}
    listed = engine.nerdctl("kill", "ps", "--all", "--quiet", "--no-trunc").split()
    pauses = engine.nerdctl(
        "kill", "ps", "--all", "--quiet", "--no-trunc", "--filter", "label=podpath.io/role=pause"
    ).split()
    assert set(listed) - set(pauses) <= containers.keys()
    for container in containers.values():
        assert container.pod_sandbox_id in sandboxes
        if container.id not in listed:  # its removal was cut off after nerdctl's part
            assert container.state == cri.CONTAINER_EXITED
            continue
        status, code = engine.nerdctl(
            "kill", "inspect", "--format={{.State.Status}}|{{.State.ExitCode}}", container.id
        ).split("|")
        if container.state == cri.CONTAINER_EXITED:
            told = (await client.status(container.id)).exit_code
            # No status: nerdctl's removal was cut off when the task was gone already.
            assert status in ("exited", "") or told == 128
            assert status == "" or told in (int(code), 128, 255)
        else:
            expected = "running" if container.state == cri.CONTAINER_RUNNING else "created"
            assert status == expected
    directory = shim.directory / "state"
    assert set(os.listdir(directory / "sandboxes")) == sandboxes
    held = set(os.listdir(directory / "containers"))
    assert set(listed) <= held, f"without a directory: {details(engine, set(listed) - held)}"
    assert held <= set(listed) | containers.keys(), "directories of containers that are gone"
    assert addresses(directory) == await known_addresses(client)


def details(engine: containerd.Containerd, ids: set[str]) -> list[str]:
    return [engine.nerdctl("kill", "inspect", container_id) for container_id in sorted(ids)]


def addresses(state: Path) -> set[str]:
    """What the address plugin holds as given out."""
    found = [p.name for p in state.glob("ipam/*/*") if p.name[0].isdigit()]
    return set(found)


async def known_addresses(client: Cri) -> set[str]:
    statuses = [await client.sandbox_status(s.id) for s in await client.sandboxes()]
    return {s.network.ip for s in statuses if s.network.ip}


@pytest.mark.slow
@pytest.mark.parametrize("round_number", range(10))
async def test_kill_at_a_random_moment(
    shim: ShimProcess, engine: containerd.Containerd, round_number: int
) -> None:
    dice = random.Random(f"{SEED}/{round_number}")
    print(f"SEED={SEED} round {round_number}")
    for kill in range(4):
        async with shim.client() as client:
            lives = [
                asyncio.ensure_future(life(client, kill * 5 + n, random.Random(dice.random())))
                for n in range(5)
            ]
            await asyncio.sleep(dice.random() * 2.5)
            shim.kill()
            await asyncio.gather(*lives)
        shim.start()
        async with shim.client() as client:
            await settled(client, shim, engine)
    async with shim.client() as client:
        await client.empty()
        await check(client, shim, engine)


async def settled(client: Cri, shim: ShimProcess, engine: containerd.Containerd) -> None:
    """Some containers end by themselves just now: all is right a moment later at the latest."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        try:
            await check(client, shim, engine)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.3)
        else:
            return


async def test_exits_while_the_shim_is_dead_are_told_with_their_code(shim: ShimProcess) -> None:
    async with shim.client() as client:
        _, container_id = await client.running(
            sandbox_config("late"),
            container_config("main", "sh", "-c", f"sleep 1; exit {EXIT_CODE}"),
        )
        _, other_id = await client.running(sandbox_config("stays"), container_config("main"))
    shim.kill()
    await asyncio.sleep(1.5)
    shim.start()
    async with shim.client() as client:
        status = await client.exited(container_id)
        assert (status.exit_code, status.reason) == (EXIT_CODE, "Error")
        assert (await client.status(other_id)).state == cri.CONTAINER_RUNNING
        await client.stop(other_id)
        assert (await client.exited(other_id)).exit_code == 137


async def test_logging_goes_on_while_the_shim_is_dead(shim: ShimProcess, tmp_path: Path) -> None:
    log = tmp_path / "logs/main/0.log"

    async def lines(at_least: int) -> list[str]:
        async with asyncio.timeout(60):
            while not log.exists() or len(found := log.read_text().splitlines()) < at_least:
                await asyncio.sleep(0.05)
        return found

    sandbox = sandbox_config("talks", log_directory=str(tmp_path / "logs"))
    loop = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"
    async with shim.client() as client:
        _, container_id = await client.running(sandbox, container_config("main", "sh", "-c", loop))
    shim.kill()
    before = len(await lines(1))
    before = len(await lines(before + 10))
    shim.start()
    async with shim.client() as client:
        await lines(before + 10)
        await client.stop(container_id)
    numbers = [int(line.split(" ")[3]) for line in await lines(1)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_out_of_memory_is_the_reason(shim: ShimProcess) -> None:
    config = container_config("main", "sh", "-c", "x=a; while :; do x=$x$x; done")
    config.linux.resources.memory_limit_in_bytes = 16 << 20
    async with shim.client() as client:
        _, container_id = await client.running(sandbox_config("hungry"), config)
        status = await client.exited(container_id)
        assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_a_command_that_does_not_exist_fails_its_start(shim: ShimProcess) -> None:
    sandbox = sandbox_config("mistyped")
    async with shim.client() as client:
        sandbox_id = await client.run_sandbox(sandbox)
        container_id = await client.create(
            sandbox_id, container_config("main", "no-such-program"), sandbox
        )
        with pytest.raises(grpc.aio.AioRpcError, match="no-such-program"):
            await client.start(container_id)
        status = await client.status(container_id)
        assert (status.state, status.exit_code, status.reason) == (
            cri.CONTAINER_EXITED,
            128,
            "StartError",
        )
        await client.remove(container_id)


@pytest.mark.slow
async def test_a_flood_is_logged_whole_though_the_shim_is_killed(
    shim: ShimProcess, tmp_path: Path
) -> None:
    """200 MB, as fast as `cat` can write them."""
    source, log = tmp_path / "source", tmp_path / "logs/main/0.log"
    line = b"%09d " + b"x" * 89 + b"\n"
    with source.open("wb") as file:
        for first in range(0, FLOOD_LINES, 1000):
            file.write(b"".join(line % number for number in range(first, first + 1000)))
    assert source.stat().st_size == 200_000_000
    sandbox = sandbox_config("flood", log_directory=str(tmp_path / "logs"))
    config = container_config("main", "cat", "/source")
    config.mounts.add(host_path=str(source), container_path="/source", readonly=True)
    async with shim.client() as client:
        _, container_id = await client.running(sandbox, config)
    shim.kill()
    shim.start()
    async with shim.client() as client:
        status = await client.exited(container_id, within_s=300)
    assert status.exit_code == 0
    with source.open("rb") as said, log.open("rb") as logged:
        for expected, found in zip(said, logged, strict=True):
            assert found.endswith(b" stdout F " + expected)
    source.unlink()
    log.unlink()


async def test_nothing_grows_over_many_lives(shim: ShimProcess) -> None:
    async with shim.client() as client:
        for number in range(15):
            if number == 5:
                before, open_before = shim.resident_kib(), shim.open_files()
            sandbox_id, container_id = await client.running(
                sandbox_config(f"pod-{number}"), container_config("main", "true")
            )
            await client.exited(container_id)
            await client.remove_sandbox(sandbox_id)
        assert shim.open_files() <= open_before + 1
        assert shim.resident_kib() < before + 3000
