"""Network, IPC and UTS namespaces that exist without a process: files that hold them.

A namespace lives as long as a file is bound to it. Making one takes a thread of its own that ends
afterwards, because a thread that left its namespaces cannot be used for anything else.
Source: containerd pkg/netns/netns_linux.go (the idea).
"""

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x04000000, 0x08000000, 0x40000000
_MS_BIND, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 4096, 2, 4, 8
_MNT_DETACH = 2
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class NamespaceRequest:
    """What a sandbox needs; a path that is None is not made."""

    network: Path | None
    ipc: Path | None
    uts: Path | None
    hostname: str
    sysctls: Mapping[str, str]


def make(request: NamespaceRequest) -> None:
    """Makes the namespaces and binds them to their paths. Blocks for milliseconds.

    Raises: OSError, PermissionError for a sysctl that is not namespaced; what was bound stays.
    """
    in_new_thread(lambda: _make(request))


def in_network(path: str, work: Callable[[], ResultT]) -> ResultT:
    """Runs `work` inside a network namespace."""

    def inside() -> ResultT:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(fd, CLONE_NEWNET), f"setns {path}")
        finally:
            os.close(fd)
        return work()

    return in_new_thread(inside)


def connect_in(path: str, port: int, timeout_s: float) -> socket.socket:
    """A TCP connection to a port on the loopback of a network namespace; "" is the node's.

    Raises: OSError.
    """

    def connect() -> socket.socket:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout_s)
        except ConnectionRefusedError:
            return socket.create_connection(("::1", port), timeout_s)

    try:
        return in_network(path, connect) if path else connect()
    except OSError as error:
        raise OSError(error.errno, f"port {port} in the Pod: {error.strerror}") from None


def mount_shm(path: Path, size: str = "65536k") -> None:
    """A /dev/shm for a Pod. Raises: OSError."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    options = f"mode=1777,size={size}".encode()
    _check(_libc.mount(b"shm", bytes(path), b"tmpfs", flags, options), f"mount {path}")


def unmount(path: Path) -> None:
    """Idempotent: what is not there or not mounted is fine."""
    _libc.umount2(bytes(path), _MNT_DETACH)


def mounted_below(directory: Path) -> set[str]:
    """The mount points under a directory."""
    prefix = f"{directory}/"
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        points = (line.split(" ", 5)[4] for line in lines)
        return {point for point in points if point.startswith(prefix)}


def in_new_thread(work: Callable[[], ResultT]) -> ResultT:
    """Runs `work` in a thread that is thrown away; its result or exception comes back."""
    outcome: list[Any] = [None, None]

    def run() -> None:
        try:
            outcome[0] = work()
        except BaseException as error:
            outcome[1] = error

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if outcome[1] is not None:
        raise outcome[1]
    result: ResultT = outcome[0]
    return result


def _make(request: NamespaceRequest) -> None:
    flags = 0
    wanted: list[tuple[str, Path]] = []
    for path, flag, name in (
        (request.network, CLONE_NEWNET, "net"),
        (request.ipc, CLONE_NEWIPC, "ipc"),
        (request.uts, CLONE_NEWUTS, "uts"),
    ):
        if path is not None:
            flags |= flag
            wanted.append((name, path))
    if flags:
        _check(_libc.unshare(flags), "unshare")
    if request.network is not None:
        _loopback_up()
    if request.uts is not None and request.hostname:
        name_bytes = request.hostname.encode()
        _check(_libc.sethostname(name_bytes, len(name_bytes)), "sethostname")
    for key, value in request.sysctls.items():
        _set_sysctl(request, key, value)
    for name, path in wanted:
        path.touch(mode=0o600)
        source = f"/proc/thread-self/ns/{name}".encode()
        _check(_libc.mount(source, bytes(path), None, _MS_BIND, None), f"bind {path}")


def _set_sysctl(request: NamespaceRequest, key: str, value: str) -> None:
    """Only what belongs to a namespace of this sandbox: all else would change the machine."""
    name = key.replace("/", ".")
    network = name.startswith("net.") and request.network is not None
    ipc = request.ipc is not None and (
        name.startswith(("kernel.shm", "kernel.msg", "fs.mqueue.")) or name == "kernel.sem"
    )
    if not network and not ipc:
        raise PermissionError(1, f"sysctl {key!r} is not namespaced in this sandbox")
    path = "/proc/sys/" + key.replace(".", "/")
    if ".." in path:
        raise PermissionError(1, f"sysctl {key!r} is malformed")
    with open(path, "w", encoding="utf-8") as file:
        file.write(value)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, asked), 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
