"""What the machine has: processors, memory, disk, identity.

Source: pkg/kubelet/cadvisor, github.com/google/cadvisor machine; pkg/kubelet/nodestatus/setters.go.
"""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory and disk in bytes, cpu in millicores."""

    cpu: int
    memory: int
    disk: int
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel: str = ""
    os_image: str = ""
    architecture: str = "amd64"


@dataclass(frozen=True, slots=True)
class Usage:
    """What is free now: memory and disk in bytes, process ids as a count."""

    memory_available: int
    disk_available: int
    disk_total: int
    pids_free: int


def detect(root_dir: str) -> Machine:
    """Reads /proc, /sys and /etc."""
    return Machine(
        cpu=(os.cpu_count() or 1) * 1000,
        memory=_meminfo("MemTotal"),
        disk=shutil.disk_usage(_existing(root_dir)).total,
        machine_id=_text("/etc/machine-id"),
        system_uuid=_text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        kernel=platform.release(),
        os_image=_os_image(),
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
    )


def usage(root_dir: str) -> Usage:
    """What is free now."""
    disk = shutil.disk_usage(_existing(root_dir))
    limit = int(_text("/proc/sys/kernel/pid_max") or 32768)
    used = sum(entry.isdigit() for entry in os.listdir("/proc"))
    return Usage(_meminfo("MemAvailable"), disk.free, disk.total, limit - used)


def _existing(path: str) -> str:
    directory = Path(path)
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return str(directory)


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _meminfo(name: str) -> int:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"
