"""Programs started by posix_spawn."""

import asyncio
import os
import signal

import pytest

from runtime_shim import child
from runtime_shim.errors import Code, CriError

ENVIRONMENT = {"PATH": os.defpath}


def spawn(*argv: str, out: int = -1) -> child.Child:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return child.spawn(argv, (null, out if out >= 0 else null, null), ENVIRONMENT)
    finally:
        os.close(null)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -13 $$", -13)]
)
async def test_how_it_ends(script: str, code: int) -> None:
    program = spawn("sh", "-c", script)
    assert await program.wait() == code
    assert await program.wait() == program.returncode == code


async def test_many_at_once() -> None:
    programs = [spawn("sh", "-c", f"exit {number}") for number in range(30)]
    assert await asyncio.gather(*(p.wait() for p in programs)) == list(range(30))


async def test_a_wait_that_is_given_up_leaves_the_program() -> None:
    program = spawn("sleep", "100")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await program.wait()
    assert program.returncode is None
    program.kill()
    assert await program.wait() == -signal.SIGKILL
    program.kill()  # too late, and no harm


async def test_it_inherits_nothing_that_we_opened() -> None:
    ours, theirs = os.pipe()
    held = os.open("/etc/hostname", os.O_RDONLY)
    program = spawn("sh", "-c", "echo /proc/self/fd/*", out=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    said = b""
    while data := await child.read_some(ours):
        said += data
    await program.wait()
    numbers = {int(word.rpartition(b"/")[2]) for word in said.split()}
    assert {0, 1, 2} <= numbers
    assert not {held, ours, theirs} & numbers
    os.close(ours)
    os.close(held)


async def test_more_than_a_pipe_holds() -> None:
    theirs_in, ours_in = os.pipe()
    ours_out, theirs_out = os.pipe()
    null = os.open(os.devnull, os.O_WRONLY)
    program = child.spawn(["cat"], (theirs_in, theirs_out, null), ENVIRONMENT)
    for fd in (theirs_in, theirs_out, null):
        os.close(fd)
    for fd in (ours_in, ours_out):
        os.set_blocking(fd, False)
    data = os.urandom(1 << 20)

    async def feed() -> None:
        await child.write_fully(ours_in, data)
        os.close(ours_in)

    async def collect() -> bytes:
        chunks = []
        while chunk := await child.read_some(ours_out):
            chunks.append(chunk)
        return b"".join(chunks)

    _, come, code = await asyncio.gather(feed(), collect(), program.wait())
    assert (come, code) == (data, 0)
    os.close(ours_out)


async def test_a_program_that_is_missing() -> None:
    with pytest.raises(CriError) as raised:
        spawn("no-such-program")
    assert raised.value.code is Code.UNAVAILABLE
    assert "no-such-program" in raised.value.message
