"""PID 1 of a container: starts services in order, restarts what ends, reaps, stops in reverse.

Only the standard library is imported: this stays in memory as long as the container lives.

    waiting --needed files are there--> running --ends--> waiting, after a growing delay
                                           |
                                           +--ends (once=True)--> done
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

RESTART_S = 0.5
RESTART_MAX_S = 10.0
_STEADY_S = 10.0  # who lived that long starts again without a delay
_STOP_S = 8.0
_POLL_S = 0.05
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class Service:
    """One process. `needs` are paths that must exist first; `once`: it is not restarted."""

    name: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    once: bool = False


@dataclass(slots=True)
class State:
    """How a service is doing. Times are monotonic seconds."""

    service: Service
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    not_before: float = 0.0
    delay: float = 0.0
    done: bool = False

    def ended(self, status: int, now: float) -> None:
        """Notes the end and when to start again."""
        self.process = None
        if self.service.once and status == 0:
            self.done = True
            return
        steady = now - self.started >= _STEADY_S
        self.delay = RESTART_S if steady else min(max(self.delay * 2, RESTART_S), RESTART_MAX_S)
        self.not_before = now + (0.0 if steady else self.delay)

    def is_due(self, now: float, exists: Callable[[str], bool]) -> bool:
        if self.process is not None or self.done or now < self.not_before:
            return False
        return all(exists(path) for path in self.service.needs)


class Supervisor:
    """`services` is asked again upon SIGHUP: what changed is restarted, the rest is not touched."""

    def __init__(self, services: Callable[[], Sequence[Service]], logs: Path) -> None:
        self._services = services
        self._logs = logs
        self._states = [State(service) for service in services()]
        self._stopping = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status."""
        self._logs.mkdir(parents=True, exist_ok=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while not self._stopping:
            now = _now()
            for state in self._states:
                if state.is_due(now, os.path.exists):
                    self._start(state)
            number = signal.sigtimedwait(_SIGNALS, _POLL_S if self._waits() else 5.0)
            self._handle(number.si_signo if number is not None else 0)
        self._stop_all()
        return 0

    def _waits(self) -> bool:
        return any(state.process is None and not state.done for state in self._states)

    def _handle(self, number: int) -> None:
        self._reap()
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = True
        elif number == signal.SIGHUP:
            self._reload()

    def _start(self, state: State) -> None:
        with (self._logs / f"{state.service.name}.log").open("ab") as log:
            try:
                state.process = subprocess.Popen(
                    state.service.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_unblock,  # there are no threads here
                )
            except OSError as error:
                print(f"{state.service.name}: {error}", flush=True)
                state.ended(127, _now())
                return
        state.started = _now()
        print(f"started {state.service.name} ({state.process.pid})", flush=True)

    def _reap(self) -> None:
        """Ends of services, and of orphans that came to PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for state in self._states:
                if state.process is not None and state.process.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    state.process.returncode = code
                    print(f"{state.service.name} ended with status {code}", flush=True)
                    state.ended(code, _now())

    def _reload(self) -> None:
        wanted = {service.name: service for service in self._services()}
        for state in self._states:
            service = wanted.get(state.service.name)
            if service is None or service == state.service:
                continue
            print(f"{service.name}: changed", flush=True)
            self._stop(state)
            state.service, state.not_before, state.done = service, 0.0, False
        present = {state.service.name for state in self._states}
        for place, service in enumerate(wanted.values()):
            if service.name not in present:
                self._states.insert(place, State(service))

    def _stop_all(self) -> None:
        for state in reversed(self._states):
            self._stop(state)

    def _stop(self, state: State) -> None:
        process = state.process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
            deadline = _now() + _STOP_S
            while state.process is not None and _now() < deadline:
                signal.sigtimedwait({signal.SIGCHLD}, 0.2)
                self._reap()
            if state.process is not None:
                os.kill(process.pid, signal.SIGKILL)
                while state.process is not None:
                    signal.sigtimedwait({signal.SIGCHLD}, 0.2)
                    self._reap()


def _now() -> float:
    return time.monotonic()


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
