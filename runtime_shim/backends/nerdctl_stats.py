"""Figures of containers and sandboxes, from the kernel's files: no process is started."""

import os
from collections.abc import Sequence
from pathlib import Path

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim import cgroups

MAX_COUNTED_FILES = 20_000
"""Of a writable layer; counting more would take longer than the answer is worth."""


def of_container(cgroup: str, pid: int, now: int) -> cri.ContainerStats:
    """`pid` finds the writable layer; 0 = unknown."""
    stats = cri.ContainerStats()
    _fill(stats.cpu, stats.memory, cgroups.usage(cgroup), now)
    stats.writable_layer.timestamp = now
    if upper := _upper_directory(pid):
        used, inodes = _disk_usage(upper)
        stats.writable_layer.fs_id.mountpoint = upper
        stats.writable_layer.used_bytes.value = used
        stats.writable_layer.inodes_used.value = inodes
    return stats


def of_sandbox(parent: str, members: Sequence[str], pid: int, now: int) -> cri.LinuxPodSandboxStats:
    """From the Pod's own cgroup if it has one, else the sum of its containers'."""
    stats = cri.LinuxPodSandboxStats()
    usage = cgroups.usage(parent) if parent else _sum([cgroups.usage(m) for m in members])
    _fill(stats.cpu, stats.memory, usage, now)
    stats.process.timestamp = stats.network.timestamp = now
    if usage.processes is not None:
        stats.process.process_count.value = usage.processes
    for line in _network_lines(pid):
        interface = _interface(line)
        if interface.name == "lo":
            continue
        if not stats.network.HasField("default_interface"):
            stats.network.default_interface.CopyFrom(interface)
        else:
            stats.network.interfaces.append(interface)
    return stats


def _fill(cpu: cri.CpuUsage, memory: cri.MemoryUsage, usage: cgroups.Usage, now: int) -> None:
    cpu.timestamp = memory.timestamp = now
    if usage.cpu_ns is not None:
        cpu.usage_core_nano_seconds.value = usage.cpu_ns
    for field, value in (
        (memory.usage_bytes, usage.memory_bytes),
        (memory.working_set_bytes, usage.working_set_bytes),
        (memory.rss_bytes, usage.rss_bytes),
        (memory.page_faults, usage.page_faults),
        (memory.major_page_faults, usage.major_page_faults),
    ):
        if value is not None:
            field.value = value
    limit, working_set = usage.memory_limit_bytes, usage.working_set_bytes
    if limit is not None and working_set is not None and limit < 1 << 60:  # v1's "no limit"
        memory.available_bytes.value = max(0, limit - working_set)


def _sum(usages: Sequence[cgroups.Usage]) -> cgroups.Usage:
    def total(name: str) -> int:
        return sum(getattr(usage, name) or 0 for usage in usages)

    return cgroups.Usage(
        cpu_ns=total("cpu_ns"),
        memory_bytes=total("memory_bytes"),
        working_set_bytes=total("working_set_bytes"),
        rss_bytes=total("rss_bytes"),
        memory_limit_bytes=None,
        page_faults=total("page_faults"),
        major_page_faults=total("major_page_faults"),
        processes=total("processes"),
    )


def _network_lines(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return []


def _interface(line: str) -> cri.NetworkInterfaceUsage:
    """`eth0: rx_bytes packets errs ... (8 of them) tx_bytes packets errs ...`."""
    name, _, figures = line.partition(":")
    values = [int(word) for word in figures.split()]
    return cri.NetworkInterfaceUsage(
        name=name.strip(),
        rx_bytes=cri.UInt64Value(value=values[0]),
        rx_errors=cri.UInt64Value(value=values[2]),
        tx_bytes=cri.UInt64Value(value=values[8]),
        tx_errors=cri.UInt64Value(value=values[10]),
    )


def _upper_directory(pid: int) -> str:
    """The overlay's writable directory, from the container's own view of its root."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split(" ")
        if fields[4] == "/" and "upperdir=" in line:
            return line.partition("upperdir=")[2].partition(",")[0]
    return ""


def _disk_usage(directory: str) -> tuple[int, int]:
    used = count = 0
    for path, directories, files in os.walk(directory):
        for name in (*directories, *files):
            try:
                facts = os.lstat(os.path.join(path, name))
            except OSError:
                continue
            used += facts.st_blocks * 512
            count += 1
        if count > MAX_COUNTED_FILES:
            break
    return used, count
