"""Where the programs that podpath starts are found."""

import os
import shutil
from pathlib import Path

_OWN = Path(__file__).resolve().parents[2] / ".tools" / "bin"


class BinaryNotFoundError(FileNotFoundError):
    """The program is neither in `.tools/bin` nor on the PATH."""


def find(name: str) -> str:
    """Absolute path of a program: what `make setup` built comes before what the machine has.

    Raises: BinaryNotFoundError, whose message says what to do.
    """
    own = _OWN / name
    if own.is_file() and os.access(own, os.X_OK):
        return str(own)
    found = shutil.which(name)
    if found:
        return found
    how = "make critest" if name == "critest" else "make setup"
    raise BinaryNotFoundError(f"{name} is not installed; `{how}` installs or builds it")
