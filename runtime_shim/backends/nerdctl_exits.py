"""Ends of processes: the kernel says when (a pidfd), one `nerdctl inspect` says with what code."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from podpath.component_base.clock import Clock
from runtime_shim import cgroups
from runtime_shim.backend import ContainerExit
from runtime_shim.errors import CriError

_log = logging.getLogger(__name__)

UNKNOWN_EXIT_CODE = 255
"""Of a container whose end nobody saw. As in containerd's CRI."""
EXIT_POLL_S = 0.05
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

State = Mapping[str, Any]
"""A container's state as `nerdctl inspect` shows it."""


@dataclass(slots=True, eq=False)
class Running:
    """A process that is watched. `sandbox_id` is empty for a pause container."""

    pid: int
    pidfd: int
    cgroup: str
    sandbox_id: str

    def send(self, number: int) -> None:
        """A signal; never to another process that got the same pid."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        """All of it: without a PID namespace of its own, its children would go on."""
        self.send(signal.SIGKILL)
        for pid in cgroups.processes(self.cgroup) if self.cgroup else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Exits:
    """Watches processes; `tell` hears of each end once, when its code is known."""

    def __init__(
        self,
        clock: Clock,
        now_ns: Callable[[], int],
        inspect: Callable[[Sequence[str]], Awaitable[Mapping[str, State]]],
        drain: Callable[[str], Awaitable[None]],
        tell: Callable[[str, ContainerExit], None],
    ) -> None:
        """`drain` returns when all that the container said is in its log."""
        self._clock = clock
        self._now_ns = now_ns
        self._inspect = inspect
        self._drain = drain
        self._tell = tell
        self._running: dict[str, Running] = {}
        self._ended: dict[str, bool] = {}  # id → out of memory; exits that are to be told
        self._ended_set = asyncio.Event()

    def running(self, container_id: str) -> Running | None:
        return self._running.get(container_id)

    def in_sandbox(self, sandbox_id: str) -> Iterator[Running]:
        return (r for r in self._running.values() if r.sandbox_id == sandbox_id)

    def about_to_tell(self, container_id: str) -> bool:
        """True between a container's end and the word of it."""
        return container_id in self._ended

    def watch(self, container_id: str, pid: int, cgroup: str, sandbox_id: str) -> None:
        """The kernel says when it ends, at once and without a process of ours."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._note(container_id, cgroup)
            return
        self._running[container_id] = Running(pid, pidfd, cgroup, sandbox_id)
        asyncio.get_running_loop().add_reader(pidfd, self._process_ended, container_id)

    def _process_ended(self, container_id: str) -> None:
        running = self._running.pop(container_id)
        asyncio.get_running_loop().remove_reader(running.pidfd)
        os.close(running.pidfd)
        self._note(container_id, running.cgroup)

    def _note(self, container_id: str, cgroup: str) -> None:
        self._ended[container_id] = bool(cgroup) and cgroups.oom_killed(cgroup)
        self._ended_set.set()

    async def run(self) -> None:
        """One inspection for all that ended since the last one; until cancelled."""
        while True:
            await self._ended_set.wait()
            self._ended_set.clear()
            ended = dict(self._ended)
            try:
                states = await self._inspect(list(ended))
            except CriError as error:
                _log.warning("exit codes cannot be read yet", extra={"error": error.message})
                states = {}
            async with asyncio.TaskGroup() as tasks:
                for container_id, out_of_memory in ended.items():
                    state = states.get(container_id)
                    if state is not None and state["Status"] == "running":
                        continue  # containerd has not heard yet
                    tasks.create_task(self._end(container_id, state, out_of_memory))
            if self._ended:
                await self._clock.sleep(EXIT_POLL_S)
                self._ended_set.set()

    async def _end(self, container_id: str, state: State | None, oom: bool) -> None:
        await self._drain(container_id)
        self._ended.pop(container_id, None)
        self._tell(container_id, exit_of(state, self._now_ns(), out_of_memory=oom))


def exit_of(state: State | None, now: int, *, out_of_memory: bool = False) -> ContainerExit:
    """The end that nerdctl tells of; `None`: it does not know the container. Pure."""
    if state is None or state["Status"] not in ("exited", "dead", "stopped"):
        return ContainerExit(now, UNKNOWN_EXIT_CODE, "Unknown", "its end was not seen")
    reason = "OOMKilled" if out_of_memory else ""
    return ContainerExit(time_ns(state["FinishedAt"]) or now, state["ExitCode"], reason)


def time_ns(text: str) -> int:
    """RFC 3339 with any number of fraction digits; 0 for the zero time."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    except ValueError:
        return 0
    seconds = int((moment - _EPOCH).total_seconds())
    return max(0, seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0))
