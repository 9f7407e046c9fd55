"""A Pod's directories and files on the node.

    ROOT/pods/UID/{volumes/PLUGIN/NAME, volume-subpaths/VOLUME/CONTAINER/INDEX,
                   containers/CONTAINER/TERMINATION_LOG, plugins, etc-hosts}

Source: pkg/kubelet/kubelet_getters.go, kubelet_pods.go, pkg/volume/emptydir.
"""

import ctypes
import os
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from kubelet import atomic_writer
from kubelet.container_log_manager import older_logs
from kubelet.volume_payload import Payload, VolumeError

MESSAGE_MAX_BYTES = 4096
_MNT_DETACH = 2


class PodFiles(Protocol):
    """The node's file system, as far as Pods use it. Raises: VolumeError, OSError."""

    def make_pod(self, uid: str, log_directory: str) -> None:
        """The Pod's root, volumes and plugins directories, and that of its logs. Idempotent."""

    def volume_path(self, uid: str, plugin: str, name: str) -> str:
        """Where a volume's directory is, existing or not."""

    def make_empty_dir(
        self, path: str, *, memory: bool, size_bytes: int, group: int | None
    ) -> None:
        """An empty directory for everyone, on tmpfs if `memory` and allowed. Idempotent."""

    def write_payload(self, path: str, payload: Payload, now: datetime, group: int | None) -> None:
        """Makes the directory show exactly these files, at once."""

    def check_host_path(self, path: str, kind: str) -> None:
        """Makes or checks it as hostPath.type says."""

    def sub_path(self, volume_path: str, sub_path: str) -> str:
        """The directory or file inside the volume; made when missing; never outside of it."""

    def write_etc_hosts(self, uid: str, text: str) -> str:
        """Returns the file's path."""

    def host_hosts(self) -> str:
        """The node's own hosts file."""

    def make_termination_log(self, uid: str, container: str, name: str) -> str:
        """An empty file that everyone may write; returns its path."""

    def read_termination_log(self, path: str) -> str:
        """At most 4096 bytes; empty if there is none."""

    def make_container_log_dir(self, log_directory: str, container: str) -> None: ...

    def link_log(self, link: str, target: str) -> None:
        """Points the symlink at a container's log."""

    def pods(self) -> Sequence[str]:
        """uids of the Pods that have a directory."""

    def remove_pod(self, uid: str) -> None:
        """Unmounts and removes the Pod's directory. Idempotent."""

    def remove_log(self, path: str, link: str) -> None:
        """One container's log, those rotated away, and the symlink ("": none). Idempotent."""

    def remove_logs(self, log_directory: str) -> None: ...


class DiskPodFiles:
    """Under `root`, for real."""

    def __init__(self, root: str) -> None:
        self._pods = Path(root) / "pods"
        self._is_root = os.geteuid() == 0

    def make_pod(self, uid: str, log_directory: str) -> None:
        base = self._pods / uid
        if not (base / "plugins").is_dir():
            for path in (base, base / "volumes", base / "plugins", base / "containers"):
                path.mkdir(mode=0o750, parents=True, exist_ok=True)
        Path(log_directory).mkdir(mode=0o755, parents=True, exist_ok=True)

    def volume_path(self, uid: str, plugin: str, name: str) -> str:
        return str(self._pods / uid / "volumes" / plugin.replace("/", "~") / name)

    def make_empty_dir(
        self, path: str, *, memory: bool, size_bytes: int, group: int | None
    ) -> None:
        directory = Path(path)
        if directory.is_dir():
            return
        directory.mkdir(parents=True)
        if memory and self._is_root:
            _mount_tmpfs(path, size_bytes)
        if group is not None and self._is_root:
            os.chown(path, -1, group)
            directory.chmod(0o2777)
        else:
            directory.chmod(0o777)

    def write_payload(self, path: str, payload: Payload, now: datetime, group: int | None) -> None:
        atomic_writer.write(Path(path), payload, now, group=group)

    def check_host_path(self, path: str, kind: str) -> None:
        target = Path(path)
        if kind == "DirectoryOrCreate":
            target.mkdir(mode=0o755, parents=True, exist_ok=True)
        elif kind == "FileOrCreate" and not target.exists():
            target.touch(mode=0o644)
        checks = {
            "Directory": (target.is_dir, "is not a directory"),
            "DirectoryOrCreate": (target.is_dir, "is not a directory"),
            "File": (target.is_file, "is not a file"),
            "FileOrCreate": (target.is_file, "is not a file"),
            "Socket": (target.is_socket, "is not a socket file"),
            "CharDevice": (target.is_char_device, "is not a character device"),
            "BlockDevice": (target.is_block_device, "is not a block device"),
        }
        if kind in checks:
            holds, complaint = checks[kind]
            if not holds():
                raise VolumeError(f"hostPath type check failed: {path} {complaint}")

    def sub_path(self, volume_path: str, sub_path: str) -> str:
        base = Path(volume_path).resolve()
        target = base / sub_path
        if ".." in Path(sub_path).parts or not target.resolve().is_relative_to(base):
            raise VolumeError(f"subPath {sub_path!r} must not lead outside of its volume")
        if not target.exists():
            target.mkdir(mode=0o750, parents=True)
            target.chmod(base.stat().st_mode & 0o7777)
        return str(target)

    def write_etc_hosts(self, uid: str, text: str) -> str:
        path = self._pods / uid / "etc-hosts"
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    def host_hosts(self) -> str:
        path = Path("/etc/hosts")
        return path.read_text() if path.exists() else ""

    def make_termination_log(self, uid: str, container: str, name: str) -> str:
        directory = self._pods / uid / "containers" / container
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        path = directory / name
        path.touch()
        path.chmod(0o666)
        return str(path)

    def read_termination_log(self, path: str) -> str:
        try:
            with Path(path).open("rb") as file:
                return file.read(MESSAGE_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""

    def make_container_log_dir(self, log_directory: str, container: str) -> None:
        (Path(log_directory) / container).mkdir(mode=0o755, parents=True, exist_ok=True)

    def link_log(self, link: str, target: str) -> None:
        path = Path(link)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def pods(self) -> Sequence[str]:
        try:
            return [entry.name for entry in os.scandir(self._pods)]
        except FileNotFoundError:
            return []

    def remove_pod(self, uid: str) -> None:
        base = self._pods / uid
        if not base.exists():
            return
        if self._is_root:
            for path in _mounts_below(str(base)):
                _unmount(path)
        if self._is_root and _mounts_below(str(base)):
            raise VolumeError(f"{base} still holds mounts: not removed")
        shutil.rmtree(base, ignore_errors=True)

    def remove_log(self, path: str, link: str) -> None:
        current = Path(path)
        for file in (current, *older_logs(current)):
            file.unlink(missing_ok=True)
        if link:
            Path(link).unlink(missing_ok=True)

    def remove_logs(self, log_directory: str) -> None:
        shutil.rmtree(log_directory, ignore_errors=True)


class MemoryPodFiles:
    """For simulated nodes: remembers which Pods have files, and no contents but messages."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._made: set[str] = set()

    def make_pod(self, uid: str, log_directory: str) -> None:
        self._made.add(uid)

    def volume_path(self, uid: str, plugin: str, name: str) -> str:
        return f"{self._root}/pods/{uid}/volumes/{plugin.replace('/', '~')}/{name}"

    def make_empty_dir(
        self, path: str, *, memory: bool, size_bytes: int, group: int | None
    ) -> None:
        """Nothing is read from it."""

    def write_payload(self, path: str, payload: Payload, now: datetime, group: int | None) -> None:
        """Nothing is read from it."""

    def check_host_path(self, path: str, kind: str) -> None:
        """A simulated node has every path."""

    def sub_path(self, volume_path: str, sub_path: str) -> str:
        return f"{volume_path}/{sub_path}"

    def write_etc_hosts(self, uid: str, text: str) -> str:
        return f"{self._root}/pods/{uid}/etc-hosts"

    def host_hosts(self) -> str:
        return ""

    def make_termination_log(self, uid: str, container: str, name: str) -> str:
        return f"{self._root}/pods/{uid}/containers/{container}/{name}"

    def read_termination_log(self, path: str) -> str:
        return ""

    def make_container_log_dir(self, log_directory: str, container: str) -> None:
        """Nothing is read from it."""

    def link_log(self, link: str, target: str) -> None:
        """There is no log."""

    def pods(self) -> Sequence[str]:
        return list(self._made)

    def remove_pod(self, uid: str) -> None:
        self._made.discard(uid)

    def remove_log(self, path: str, link: str) -> None:
        """There is none."""

    def remove_logs(self, log_directory: str) -> None:
        """There are none."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount_tmpfs(path: str, size_bytes: int) -> None:
    options = f"size={size_bytes}" if size_bytes else ""
    if _libc().mount(b"tmpfs", path.encode(), b"tmpfs", 0, options.encode()):
        error = os.strerror(ctypes.get_errno())
        raise VolumeError(f"mounting tmpfs at {path} failed: {error}")


def _unmount(path: str) -> None:
    _libc().umount2(path.encode(), _MNT_DETACH)


def _mounts_below(base: str) -> list[str]:
    """Mount points inside, deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split(" ", 5)[4].replace("\\040", " ") for line in lines]
    return sorted((p for p in points if p.startswith(base + "/")), key=len, reverse=True)
