"""Replaces a directory's files so that a reader sees all of the old or all of the new.

    volume/..2024_01_02_03_04_05.123456789/key      the files
    volume/..data -> ..2024_01_02_03_04_05.123456789
    volume/key -> ..data/key

Only `..data` moves, by one rename. Source: pkg/volume/util/atomic_writer.go.
"""

import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path, PurePosixPath

from kubelet.volume_payload import Payload, VolumeError

_DATA, _NEW_DATA = "..data", "..data_tmp"


def write(directory: Path, payload: Payload, now: datetime, *, group: int | None = None) -> bool:
    """Makes the directory show exactly `payload`; False when it did already.

    `group` is the Pod's fsGroup: the files become its, readable by it. Raises: VolumeError.
    """
    for name in payload:
        _check(name)
    directory.mkdir(parents=True, exist_ok=True)
    current = directory / _DATA
    if current.is_symlink() and _same(current, payload):
        return False
    old = os.readlink(current) if current.is_symlink() else ""
    prefix = now.strftime("..%Y_%m_%d_%H_%M_%S.")
    fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
    fresh.chmod(0o755)
    for name, content in payload.items():
        _write_file(fresh / name, content.data, content.mode, group)
    temporary = directory / _NEW_DATA
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(fresh.name)
    temporary.rename(current)
    _link_names(directory, payload)
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)
    return True


def _write_file(path: Path, data: bytes, mode: int, group: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if group is not None:
        mode |= 0o440
        if os.geteuid() == 0:
            os.chown(path, -1, group)
    path.chmod(mode)


def _check(name: str) -> None:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or name.startswith(".."):
        raise VolumeError(f"invalid path: {name}: must be relative and must not contain '..'")


def _same(current: Path, payload: Payload) -> bool:
    present = {str(file.relative_to(current)) for file in current.rglob("*") if not file.is_dir()}
    if present != set(payload):
        return False
    return all((current / name).read_bytes() == content.data for name, content in payload.items())


def _link_names(directory: Path, payload: Payload) -> None:
    wanted = {PurePosixPath(name).parts[0] for name in payload}
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink(missing_ok=True)
    for name in wanted:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
