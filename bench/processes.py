"""Children of one run: started with a log each, ended whatever happens."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

_READY_S = 90.0


class Processes:
    """Their logs are NAME.log in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, *argv: str) -> int:
        """The pid."""
        with (self._directory / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        self._children.append((name, child))
        return child.pid

    def check(self) -> None:
        """Raises: RuntimeError with the log's end if one has died."""
        for name, child in self._children:
            if child.poll() is not None:
                tail = (self._directory / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended with {child.returncode}:\n{tail}")

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Until `done()`. Raises: RuntimeError."""
        deadline = time.monotonic() + _READY_S
        while not done():
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} is not ready after {_READY_S:.0f} s")
            time.sleep(0.05)

    def stop(self) -> None:
        for _, child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
        for _, child in self._children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
