"""What this machine offers to containers, read once."""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime_shim import cgroups

# fmt: off
_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)
# fmt: on
"""In the kernel's order: the position is the bit."""
RECURSIVE_ATTRIBUTES_SINCE = (5, 12)
"""The kernel that brought mount_setattr(2), which a recursively read-only mount needs."""
_NOT_PASSED_ON = ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console")


@dataclass(frozen=True, slots=True)
class Device:
    """A device node of the machine."""

    path: str
    kind: str  # "c" or "b"
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the machine offers; read once (see node_facts.py)."""

    capabilities: tuple[str, ...]  # without CAP_, as CRI writes them
    can_lower_oom_score: bool
    apparmor: bool
    selinux: bool
    memory_swap: bool
    hugetlb: bool
    recursive_read_only: bool
    cgroup_v2: bool
    list_devices: Callable[[str], Sequence[Device]]
    """The devices at or below a path; empty if there are none."""


def read(runc_features: Mapping[str, Any]) -> NodeFacts:
    """`runc_features`: what `runc features` printed."""
    held = capabilities(Path("/proc/self/status").read_text())
    v2 = cgroups.is_v2()
    memory = cgroups.ROOT / "memory"
    return NodeFacts(
        capabilities=held,
        can_lower_oom_score="SYS_RESOURCE" in held,
        apparmor=Path("/sys/kernel/security/apparmor").exists(),
        selinux=Path("/sys/fs/selinux/enforce").exists(),
        memory_swap=v2 or (memory / "memory.memsw.limit_in_bytes").exists(),
        recursive_read_only="rro" in runc_features.get("mountOptions", ())
        and kernel(os.uname().release) >= RECURSIVE_ATTRIBUTES_SINCE,
        hugetlb=(cgroups.ROOT / "hugetlb").exists() or v2,
        cgroup_v2=v2,
        list_devices=list_devices,
    )


def kernel(release: str) -> tuple[int, int]:
    """`6.1.0-13-amd64` is (6, 1)."""
    major, minor, *_ = release.split(".")
    return int(major), int(minor.partition("-")[0])


def capabilities(status: str) -> tuple[str, ...]:
    """Those in the bounding set of /proc/PID/status: no container can have more."""
    line = next(line for line in status.splitlines() if line.startswith("CapBnd:"))
    mask = int(line.split()[1], 16)
    return tuple(name for bit, name in enumerate(_CAPABILITIES) if mask >> bit & 1)


def list_devices(path: str) -> Sequence[Device]:
    """The device nodes at a path or below it; links are followed for the path itself only."""
    try:
        facts = os.stat(path)
    except OSError:
        return []
    if not stat.S_ISDIR(facts.st_mode):
        found = _device(path, facts)
        return [found] if found else []
    devices: list[Device] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_symlink() or entry.name in _NOT_PASSED_ON:
                continue
            if entry.is_dir():
                devices += list_devices(entry.path)
            elif found := _device(entry.path, entry.stat(follow_symlinks=False)):
                devices.append(found)
    return devices


def _device(path: str, facts: os.stat_result) -> Device | None:
    mode = facts.st_mode
    if not stat.S_ISCHR(mode) and not stat.S_ISBLK(mode):
        return None
    return Device(
        path=path,
        kind="c" if stat.S_ISCHR(mode) else "b",
        major=os.major(facts.st_rdev),
        minor=os.minor(facts.st_rdev),
        mode=stat.S_IMODE(mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
    )
