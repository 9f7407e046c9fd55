"""Programs that a killed shim had started: they go on without it, and may still change things."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from podpath.component_base.clock import Clock
from runtime_shim.errors import Code, CriError

POLL_S = 0.02
TIMEOUT_S = 60.0
EXEC_SCRATCH = "podpath-exec-"


async def wait_for(marks: tuple[bytes, ...], clock: Clock) -> None:
    """Returns when no process has one of `marks` in its command line or environment.

    A process shows neither in the moment in which it becomes another program, so it takes two looks
    in a row. Raises: CriError DEADLINE_EXCEEDED: to go on would race with it.
    """
    until = clock.monotonic() + TIMEOUT_S
    looks_without = 0
    while True:
        left = await asyncio.to_thread(lambda: list(_having(marks)))
        looks_without = 0 if left else looks_without + 1
        if looks_without == 2:
            return
        if left and clock.monotonic() > until:
            raise CriError(
                Code.DEADLINE_EXCEEDED, f"process {left[0]} of an earlier shim does not end"
            )
        await clock.sleep(POLL_S)


def kill_execs(container_ids: frozenset[str]) -> None:
    """Ends the exec sessions of an earlier shim in these containers: nobody reads them any more."""
    for pid, words in _processes("cmdline"):
        ours = any(EXEC_SCRATCH.encode() in word for word in words)
        if ours and any(word.decode(errors="replace") in container_ids for word in words):
            os.kill(pid, signal.SIGKILL)


def _having(marks: tuple[bytes, ...]) -> Iterator[int]:
    own = os.getpid()
    for name in ("cmdline", "environ"):
        for pid, words in _processes(name):
            if pid != own and any(word.startswith(marks) for word in words):
                yield pid


def _processes(name: str) -> Iterator[tuple[int, list[bytes]]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                yield int(entry), Path("/proc", entry, name).read_bytes().split(b"\0")
            except OSError:
                continue
