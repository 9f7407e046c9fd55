"""Programs of somebody else that a test runs where they are on the PATH."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from podpath.component_base import binaries

STOP_TIMEOUT_S = 30


def why_missing(name: str) -> str:
    """Why it cannot run here; "" if it can."""
    try:
        binaries.find(name)
    except binaries.BinaryNotFoundError:
        return f"the real {name} is not on the PATH"
    return ""


@contextmanager
def running(argv: Sequence[str], log: Path) -> Iterator[None]:
    """Until the block ends; then it is asked to end, and has ended."""
    with open(log, "wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
