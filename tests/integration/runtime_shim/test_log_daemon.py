"""The log daemon as a process: no line lost, rotation, attach, its own death."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podpath.component_base.streaming.process import Output
from runtime_shim.backends import oci_runtime
from runtime_shim.errors import CriError
from runtime_shim.log_client import LogClient, LoggedContainer

pytestmark = pytest.mark.integration


class Bench:
    """A daemon and containers that are nothing but FIFOs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: list[LoggedContainer] = []
        self.client = LogClient(root, lambda: self.known)
        self.open: list[int] = []

    async def container(self, name: str = "c", *, stdin: bool = False) -> LoggedContainer:
        directory = self.root / "containers" / name
        directory.mkdir(parents=True)
        for fifo in oci_runtime.FIFOS:
            os.mkfifo(directory / fifo)
        container = LoggedContainer(
            name, directory, str(self.root / "logs" / name / "0.log"), False, stdin, stdin
        )
        await self.client.add(container)
        self.known.append(container)
        return container

    def writer(self, container: LoggedContainer, stream: str = "stdout") -> int:
        """As the launcher opens it: for both, so that no reader's death breaks it."""
        fd = os.open(container.directory / stream, os.O_RDWR)
        self.open.append(fd)
        return fd

    def pid(self) -> int:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if str(self.root).encode() in words and b"log_daemon.py" in words[2]:
                    return int(entry.name)
        raise AssertionError("no daemon runs")


def lines(container: LoggedContainer) -> list[list[str]]:
    text = Path(container.log_path).read_text()
    return [line.split(" ", 3)[1:] for line in text.splitlines()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.client.close()
    for fd in made.open:
        with contextlib.suppress(OSError):
            os.close(fd)
    with contextlib.suppress(AssertionError, ProcessLookupError):
        os.kill(made.pid(), signal.SIGKILL)


async def test_output_becomes_log_lines(bench: Bench) -> None:
    container = await bench.container()
    out, err = bench.writer(container), bench.writer(container, "stderr")
    os.write(out, b"one\ntwo")
    os.write(err, b"bad\n")
    os.close(out)
    os.close(err)
    await bench.client.drain("c")
    assert sorted(lines(container)) == [
        ["stderr", "F", "bad"],
        ["stdout", "F", "one"],
        ["stdout", "P", "two"],
    ]


async def test_a_flood_loses_nothing(bench: Bench) -> None:
    container = await bench.container()
    out, err = bench.writer(container), bench.writer(container, "stderr")
    os.close(err)
    total = 200_000

    def flood() -> None:
        data = b"".join(b"line %d\n" % n for n in range(total))
        while data:
            data = data[os.write(out, data) :]
        os.close(out)

    await asyncio.to_thread(flood)
    await bench.client.drain("c")
    assert [line[2] for line in lines(container)] == [f"line {n}" for n in range(total)]


async def test_reopening_goes_on_in_a_new_file(bench: Bench) -> None:
    container = await bench.container()
    out = bench.writer(container)
    os.write(out, b"before\n")
    async with asyncio.timeout(60):
        while not Path(container.log_path).read_text():
            await asyncio.sleep(0.01)
    Path(container.log_path).rename(container.log_path + ".old")
    await bench.client.reopen("c")
    os.write(out, b"after\n")
    async with asyncio.timeout(60):
        while not Path(container.log_path).read_text():
            await asyncio.sleep(0.01)
    assert lines(container) == [["stdout", "F", "after"]]
    with pytest.raises(CriError):
        await bench.client.reopen("unknown")


async def test_many_attach_and_all_hear_everything(bench: Bench) -> None:
    container = await bench.container(stdin=True)
    out, err = bench.writer(container), bench.writer(container, "stderr")
    reader = os.open(container.directory / "stdin", os.O_RDONLY | os.O_NONBLOCK)
    sessions = [await bench.client.attach(container) for _ in range(3)]
    os.write(out, b"hello\n")
    os.write(err, b"oh\n")
    for session in sessions:
        heard = {await session.read(), await session.read()}
        assert heard == {(Output.STDOUT, b"hello\n"), (Output.STDERR, b"oh\n")}
    await sessions[0].write(b"typed")
    async with asyncio.timeout(60):
        while True:
            try:
                assert os.read(reader, 100) == b"typed"
                break
            except BlockingIOError:
                await asyncio.sleep(0.01)
    await sessions[1].close()
    os.close(out)
    os.close(err)
    assert await sessions[2].read() is None
    for session in sessions:
        await session.close()
    os.close(reader)


async def test_a_killed_daemon_loses_no_line_and_stops_no_container(bench: Bench) -> None:
    container = await bench.container()
    out = bench.writer(container)
    os.write(out, b"before\n")
    async with asyncio.timeout(60):
        while not Path(container.log_path).read_text():
            await asyncio.sleep(0.01)
    keeping = asyncio.ensure_future(bench.client.keep())
    await asyncio.sleep(0.1)
    os.kill(bench.pid(), signal.SIGKILL)
    os.write(out, b"while it was dead\n")  # no SIGPIPE, no error
    async with asyncio.timeout(60):
        while len(lines(container)) < 2:
            await asyncio.sleep(0.02)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert [line[2] for line in lines(container)] == ["before", "while it was dead"]


async def test_it_is_small(bench: Bench) -> None:
    await bench.container()
    status = Path(f"/proc/{bench.pid()}/status").read_text()
    (resident,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    assert int(resident) < 20_000


async def test_what_a_killed_shim_did_not_drop_is_forgotten(bench: Bench) -> None:
    """The shim was killed between removing a container and saying so."""
    kept, gone = await bench.container("kept"), await bench.container("gone")
    os.write(bench.writer(kept), b"one\n")
    bench.client.close()
    bench.known.remove(gone)
    await bench.client.reopen(kept.id)  # connects anew, as the next shim does
    held = {os.readlink(f) for f in Path(f"/proc/{bench.pid()}/fd").iterdir()}
    assert any(str(kept.directory) in path for path in held)
    assert not any(str(gone.directory) in path for path in held)


async def test_a_stopped_daemon_is_gone_and_stays_away(bench: Bench) -> None:
    await bench.container()
    keeping = asyncio.ensure_future(bench.client.keep())
    pid = bench.pid()
    await bench.client.stop()
    async with asyncio.timeout(60):
        await keeping  # returns, and has started no other
        while Path(f"/proc/{pid}").exists() and "Z" not in _state(pid):
            await asyncio.sleep(0.01)
    with pytest.raises(AssertionError, match="no daemon runs"):
        bench.pid()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
