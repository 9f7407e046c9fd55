"""`podpath cri`: calls passed on, written down, and played again."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc.aio
import pytest

from podpath.component_base import binaries
from podpath.component_base.clock import SystemClock
from protos.cri import runtime_v1_pb2 as cri
from protos.cri import runtime_v1_pb2_grpc as services
from runtime_shim import replay
from runtime_shim.errors import Code, CriError
from runtime_shim.passthrough import Passthrough
from runtime_shim.remote_cri import RemoteCri, parse_faults
from runtime_shim.server import serve
from tests.support.shim_process import ShimProcess
from tests.support.shims import (
    IMAGE,
    Cri,
    InMemory,
    container_config,
    fake_shim,
    sandbox_config,
)

pytestmark = pytest.mark.integration


def remote(socket: Path, *, record: str = "", faults: str = "") -> RemoteCri:
    made = RemoteCri(
        f"unix://{socket}", SystemClock(), record=record, faults=faults, dice=random.Random(1)
    )
    made.open()
    return made


async def drive(calls: Cri) -> None:
    """A short life, as a kubelet drives it."""
    sandbox_id, container_id = await calls.running(sandbox_config("played"), container_config())
    await calls.status(container_id)
    await calls.stop(container_id)
    await calls.status(container_id)
    await calls.remove_sandbox(sandbox_id)


async def recorded(tmp_path: Path) -> bytes:
    """The record of `drive` through a passing server in front of a fake one."""
    async with fake_shim(SystemClock()) as shim, serve(shim, tmp_path / "fake.sock"):
        passing = remote(tmp_path / "fake.sock", record=str(tmp_path / "calls"))
        try:
            through = InMemory(Passthrough(passing))  # type: ignore[arg-type]
            await drive(Cri(through, through))
        finally:
            await passing.close()
    return (tmp_path / "calls").read_bytes()


async def test_a_record_played_on_the_same_runtime_differs_in_nothing(tmp_path: Path) -> None:
    entries = list(replay.read((await recorded(tmp_path)).splitlines()))
    assert [e["rpc"] for e in entries][:3] == ["RunPodSandbox", "CreateContainer", "StartContainer"]
    async with fake_shim(SystemClock()) as shim, serve(shim, tmp_path / "other.sock"):
        other = remote(tmp_path / "other.sock")
        assert await replay.play(entries, other) == []
        await other.close()


async def test_another_answer_is_a_difference(tmp_path: Path) -> None:
    entries = list(replay.read((await recorded(tmp_path)).splitlines()))
    async with fake_shim(SystemClock()) as shim, serve(shim, tmp_path / "other.sock"):
        other = remote(tmp_path / "other.sock", faults="StartContainer=UNAVAILABLE")
        differences = await replay.play(entries, other)
        await other.close()
    assert differences[0] == replay.Difference(3, "StartContainer", "code OK became UNAVAILABLE")
    assert any(d.rpc == "ContainerStatus" and "state" in d.what for d in differences)


async def test_a_fault_reaches_the_caller_and_the_record(tmp_path: Path) -> None:
    async with fake_shim(SystemClock()) as shim, serve(shim, tmp_path / "fake.sock"):
        passing = remote(
            tmp_path / "fake.sock",
            record=str(tmp_path / "calls"),
            faults="CreateContainer=RESOURCE_EXHAUSTED",
        )
        through = InMemory(Passthrough(passing))  # type: ignore[arg-type]
        with pytest.raises(CriError) as raised:
            await drive(Cri(through, through))
        assert raised.value.code is Code.RESOURCE_EXHAUSTED
        await passing.close()
    last = (tmp_path / "calls").read_bytes().splitlines()[-1]
    assert b'"code":"RESOURCE_EXHAUSTED"' in last


async def test_credentials_are_not_written_down(tmp_path: Path) -> None:
    async with fake_shim(SystemClock()) as shim, serve(shim, tmp_path / "fake.sock"):
        passing = remote(tmp_path / "fake.sock", record=str(tmp_path / "calls"))
        request = cri.PullImageRequest(
            image=cri.ImageSpec(image="a/b:c"), auth=cri.AuthConfig(password="hunter2")
        )
        await passing.call("PullImage", request)
        await passing.close()
    assert b"hunter2" not in (tmp_path / "calls").read_bytes()
    assert (tmp_path / "calls").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["x", "Stop=", "A=NO_SUCH_CODE", "A=OK:much", "=OK"])
def test_malformed_faults(text: str) -> None:
    with pytest.raises(CriError):
        parse_faults(text)


def test_faults() -> None:
    faults = parse_faults("A=OK:0.5:2; B=UNAVAILABLE")
    assert (faults["A"].code, faults["A"].probability, faults["A"].delay_s) == (None, 0.5, 2.0)
    assert (faults["B"].code, faults["B"].probability) == (Code.UNAVAILABLE, 1.0)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"rpc": "Nothing", "request": {}}', b"[1]"])
def test_a_line_that_is_no_call(line: bytes) -> None:
    with pytest.raises(CriError, match="line 1"):
        list(replay.read([line]))


@pytest.mark.parametrize(
    "words",
    [("replay", "/no/such/file", "unix:///x"), ("proxy", "unix:///x", "--listen=y", "--record=z")],
)
def test_the_command_says_what_is_wrong(words: tuple[str, ...]) -> None:
    argv = [sys.executable, "-m", "podpath.cli.main", "cri", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "no/such/file" in done.stderr or "expected unix" in done.stderr


def podpath(*words: str) -> list[str]:
    return [sys.executable, "-m", "podpath.cli.main", "cri", *words]


def played(record: Path, endpoint: str) -> "subprocess.CompletedProcess[str]":
    argv = podpath("replay", str(record), endpoint)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def fakes(tmp_path: Path) -> Iterator[tuple[ShimProcess, ShimProcess]]:
    """Two runtimes, each a process."""
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shim = ShimProcess(tmp_path / name, ["--backend=fake"])
        shim.start()
        made.append(shim)
    yield made[0], made[1]
    for shim in made:
        shim.stop()


@contextmanager
def standing_between(endpoint: str, socket: Path, record: Path) -> Iterator[None]:
    """`podpath cri proxy`, until Ctrl-C."""
    argv = podpath("proxy", endpoint, f"--listen=unix://{socket}", f"--record={record}")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "passing calls on" in process.stdout.readline()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, rest


async def test_the_command_stands_between_and_plays_again(
    fakes: tuple[ShimProcess, ShimProcess], tmp_path: Path
) -> None:
    socket, record = tmp_path / "proxy.sock", tmp_path / "calls"
    pull = cri.PullImageRequest(image=cri.ImageSpec(image=IMAGE))
    with standing_between(fakes[0].endpoint, socket, record):
        async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            calls = Cri(services.RuntimeServiceStub(channel), services.ImageServiceStub(channel))
            await calls.images.PullImage(pull)
            await drive(calls)
    same = played(record, fakes[1].endpoint)
    assert (same.returncode, same.stdout) == (0, "0 differences\n"), same.stderr
    fakes[1].stop()
    gone = played(record, fakes[1].endpoint)
    assert gone.returncode == 1
    assert "RunPodSandbox: code OK became UNAVAILABLE" in gone.stdout


def test_the_command_checks_a_runtime(fakes: tuple[ShimProcess, ShimProcess]) -> None:
    argv = podpath("check", fakes[0].endpoint, "--", "--ginkgo.focus=should return version info")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    try:
        binaries.find("critest")
    except binaries.BinaryNotFoundError:
        assert done.returncode == 2
        assert "make critest" in done.stderr
    else:
        assert done.returncode == 0, done.stdout
        assert "1 Passed" in done.stdout
