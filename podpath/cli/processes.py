"""Starting, finding and ending the processes of a local cluster.

A process is remembered by pid and start time, so that a recycled pid is never taken for ours.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from podpath.cli.layout import ClusterError, Layout

_LOG_LINES = 15
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to run. `after` names those that have to be ready before it starts."""

    name: str
    argv: tuple[str, ...]
    after: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)


class ProcessFailedError(ClusterError):
    """A component did not start or died; the message has its last log lines."""


def _start_time(pid: int) -> str | None:
    """The kernel's start time of a living process, in clock ticks since boot."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else fields[19]


class Processes:
    """The processes of one cluster."""

    # Those that this program started itself, by pid: it is their parent and has to reap them.
    _children: ClassVar[dict[int, subprocess.Popen[bytes]]] = {}

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def pid(self, name: str) -> int | None:
        """The pid if the process lives, else None."""
        try:
            pid, started = self._layout.pid(name).read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        child = self._children.get(int(pid))
        if child is not None and child.poll() is not None:
            return None
        return int(pid) if _start_time(int(pid)) == started else None

    def names(self) -> list[str]:
        """Every process that was ever started and not yet stopped."""
        return sorted(p.stem for p in (self._layout.directory / "run").glob("*.pid"))

    def start(self, spec: ProcessSpec) -> bool:
        """Starts it in a session of its own, unless it lives. True if it was started."""
        if self.pid(spec.name) is not None:
            return False
        log = self._layout.log(spec.name)
        with log.open("ab") as output:
            child = subprocess.Popen(
                spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **spec.environ},
            )
        self._children[child.pid] = child
        started = _start_time(child.pid)
        self._layout.pid(spec.name).write_text(f"{child.pid} {started}\n")
        return True

    def failed(self, name: str, why: str) -> ProcessFailedError:
        """An error that names the component, the reason and where its log is."""
        log = self._layout.log(name)
        tail = ""
        if log.is_file():
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            tail = "".join(f"\n  | {line}" for line in lines)
        return ProcessFailedError(f"{name}: {why}\nlog: {log}{tail}")

    def wait_ready(self, name: str, ready: Callable[[], bool], timeout_s: float) -> None:
        """Waits until `ready()`. Raises: ProcessFailedError when it dies or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.pid(name) is None:
                child = self._children.get(int(self._layout.pid(name).read_text().split()[0]))
                code = "" if child is None else f" with status {child.returncode}"
                raise self.failed(name, f"ended{code} before it was ready")
            if time.monotonic() > deadline:
                raise self.failed(name, f"is not ready after {timeout_s:.0f} s")
            time.sleep(0.02)

    def wait_for_an_end(self) -> str:
        """Returns when one of them has died: its name."""
        with selectors.DefaultSelector() as selector, ExitStack() as stack:
            for name in self.names():
                try:
                    pidfd = os.pidfd_open(self.pid(name) or 0)
                except OSError:  # it has died already
                    return name
                stack.callback(os.close, pidfd)
                selector.register(pidfd, selectors.EVENT_READ, name)
            key, _ = selector.select()[0]
            return str(key.data)

    def stop(self, name: str, number: int = signal.SIGTERM) -> bool:
        """Ends it, at last with SIGKILL. True if it lived."""
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, number)
            deadline = time.monotonic() + _STOP_TIMEOUT_S
            while self.pid(name) is not None:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.02)
        self._layout.pid(name).unlink(missing_ok=True)
        return pid is not None
