"""The program in runc's place: it finishes the spec by the log daemon, and becomes runc."""

import asyncio
import contextlib
import json
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime_shim.backends import oci_runtime
from runtime_shim.log_client import LogClient, LoggedContainer

pytestmark = pytest.mark.integration

FAKE_RUNC = """#!/bin/sh
echo "$@"
cat
echo "complaint" >&2
"""
SPEC = {
    "process": {"user": {"uid": 5, "gid": 6}, "env": ["A=1"]},
    "linux": {},
    "hooks": {"createRuntime": []},
}
EDITS = {
    "readonly_root": True,
    "env": ["B=2"],
    "tty": False,
    "stdin": False,
    "groups": [7],
    "merge_groups": False,
    "namespaces": {},
    "process": {},
    "linux": {},
    "linux_absent": [],
    "resources": {},
    "all_devices": False,
    "mounts": [],
    "mounts_absent": [],
    "writable_mounts": [],
}


class Launch:
    """A container as the backend prepares it, with a runc that only says what it was told."""

    def __init__(self, root: Path, **edits: object) -> None:
        self.root = root
        self.id = "c0ffee"
        self.directory = root / "containers" / self.id
        self.directory.mkdir(parents=True)
        for fifo in oci_runtime.FIFOS:
            os.mkfifo(self.directory / fifo)
        (self.directory / oci_runtime.EDITS).write_text(json.dumps(EDITS | edits))
        self.bundle = root / "bundle"
        self.bundle.mkdir()
        self.config = self.bundle / "config.json"
        self.config.write_text(json.dumps(SPEC))
        runc = self._program("runc", FAKE_RUNC)
        launcher = oci_runtime.LAUNCHER.format(runc=runc, directory=root / "containers")
        self.launcher = self._program("launcher", launcher)
        self.logged = LoggedContainer(
            self.id, self.directory, str(root / "log"), stdin=bool(edits.get("stdin"))
        )
        self.logs = LogClient(root, lambda: [self.logged])

    def _program(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def create_arguments(self) -> list[str]:
        flags = ["--root", "/run/runc", "create", "--bundle", str(self.bundle)]
        return [*flags, "--pid-file", "/p", self.id]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            self.launcher, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    def said(self) -> list[str]:
        path = self.root / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split(" ", 3)[3] for line in lines]

    async def waits(self) -> None:
        async with asyncio.timeout(60):
            while not oci_runtime.has_asked(str(self.directory)):
                await asyncio.sleep(0.01)

    def end(self) -> None:
        self.logs.close()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if str(self.root).encode() in words and b"log_daemon.py" in words[2]:
                    os.kill(int(entry.name), signal.SIGKILL)


@pytest.fixture
async def launch(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Launch]:
    made = Launch(tmp_path, **getattr(request, "param", {}))
    yield made
    made.end()


async def test_at_create_the_spec_is_finished_and_the_streams_are_the_containers(
    launch: Launch,
) -> None:
    await launch.logs.add(launch.logged)
    process = await launch.start(*launch.create_arguments())
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 0
    await launch.logs.drain(launch.id)
    assert sorted(launch.said()) == [" ".join(launch.create_arguments()), "complaint"]
    spec = json.loads(launch.config.read_text())
    assert spec["process"]["env"] == ["A=1", "B=2"]
    assert "hooks" not in spec
    notes = json.loads((launch.directory / oci_runtime.RUNC_NOTES).read_text())
    assert notes == {
        "root": "/run/runc",
        "pid_file": "/p",
        "uid": 5,
        "gid": 6,
        "groups": [6, 7],
    }


@pytest.mark.parametrize("launch", [{"stdin": True}], indirect=True)
async def test_input_reaches_the_container(launch: Launch) -> None:
    await launch.logs.add(launch.logged)
    process = await launch.start(*launch.create_arguments())
    attached = await launch.logs.attach(launch.logged)
    await attached.write(b"typed\n")
    async with asyncio.timeout(60):
        while "typed" not in launch.said():
            await asyncio.sleep(0.01)
    process.kill()  # nobody closes its input
    await process.communicate()
    await attached.close()


@pytest.mark.parametrize("launch", [{"tty": True}], indirect=True)
async def test_a_terminal_is_sent_to_the_daemon(launch: Launch) -> None:
    (launch.root / "runc").write_text(f'#!/bin/sh\necho "$@" > {launch.root}/told\n')
    launch.logged = LoggedContainer(launch.id, launch.directory, tty=True)
    await launch.logs.add(launch.logged)
    process = await launch.start(*launch.create_arguments())
    await process.communicate()
    told = (launch.root / "told").read_text().split()
    at = told.index("create") + 1
    assert told[at : at + 2] == ["--console-socket", "console"]
    assert (launch.bundle / "console").resolve() == launch.directory / "console"
    assert told[:at] + told[at + 2 :] == launch.create_arguments()


async def test_other_commands_are_runcs_at_once(launch: Launch) -> None:
    for arguments in (["--root", "/r", "start", "x"], ["kill", "create"], ["--version"]):
        process = await launch.start(*arguments)
        assert await process.communicate() == (
            f"{' '.join(arguments)}\n".encode(),
            b"complaint\n",
        )


async def test_it_waits_for_a_daemon(launch: Launch) -> None:
    process = await launch.start(*launch.create_arguments())
    await launch.waits()
    await launch.logs.add(launch.logged)
    await process.communicate()
    assert process.returncode == 0
    await launch.logs.drain(launch.id)
    assert "complaint" in launch.said()


async def test_a_spec_that_cannot_be_finished_fails_with_the_reason(launch: Launch) -> None:
    launch.config.unlink()
    await launch.logs.add(launch.logged)
    process = await launch.start(*launch.create_arguments())
    _, complaint = await process.communicate()
    assert process.returncode == 1
    assert b"config.json" in complaint


async def test_a_daemon_that_is_told_again_changes_nothing(launch: Launch) -> None:
    await launch.logs.add(launch.logged)
    process = await launch.start(*launch.create_arguments())
    await process.communicate()
    launch.config.write_text("what runc made of it")
    launch.end()
    again = LogClient(launch.root, lambda: [launch.logged])
    await again.add(launch.logged)
    again.close()
    assert launch.config.read_text() == "what runc made of it"
