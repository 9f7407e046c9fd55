"""Figures of a cgroup, v1 and v2, read from its files. Units: nanoseconds and bytes."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a cgroup uses now; None = this machine does not tell."""

    cpu_ns: int | None
    memory_bytes: int | None
    working_set_bytes: int | None
    rss_bytes: int | None
    memory_limit_bytes: int | None
    page_faults: int | None
    major_page_faults: int | None
    processes: int | None


def is_v2() -> bool:
    """True if the machine has the unified hierarchy only."""
    return (ROOT / "cgroup.controllers").exists()


def usage(path: str) -> Usage:
    """`path` as in the OCI spec's cgroupsPath, for example /kubepods/podUID/ID."""
    return _usage_v2(path) if is_v2() else _usage_v1(path)


def oom_killed(path: str) -> bool:
    """True if the kernel killed something in it for want of memory. False if it is gone."""
    name = "memory.events" if is_v2() else "memory.oom_control"
    return _fields(_controller("memory", path) / name).get("oom_kill", 0) > 0


def processes(path: str) -> list[int]:
    """The processes in it and below; empty if it is gone."""
    found: list[int] = []
    for directory, _, _ in os.walk(_controller("pids", path)):
        try:
            text = Path(directory, "cgroup.procs").read_text()
        except OSError:
            continue
        found += [int(line) for line in text.split()]
    return found


def remove_empty(path: str) -> None:
    """Removes it from every hierarchy, if nothing is in it."""
    roots = [ROOT] if is_v2() else [ROOT / name for name in os.listdir(ROOT)]
    for root in roots:
        try:
            (root / path.lstrip("/")).rmdir()
        except OSError:
            continue


def _usage_v1(path: str) -> Usage:
    memory = _controller("memory", path)
    stat = _fields(memory / "memory.stat")
    used = _number(memory / "memory.usage_in_bytes")
    return Usage(
        cpu_ns=_number(_controller("cpuacct", path) / "cpuacct.usage"),
        memory_bytes=used,
        working_set_bytes=_working_set(used, stat.get("total_inactive_file")),
        rss_bytes=stat.get("total_rss"),
        memory_limit_bytes=_number(memory / "memory.limit_in_bytes"),
        page_faults=stat.get("total_pgfault"),
        major_page_faults=stat.get("total_pgmajfault"),
        processes=_number(_controller("pids", path) / "pids.current"),
    )


def _usage_v2(path: str) -> Usage:
    here = ROOT / path.lstrip("/")
    stat = _fields(here / "memory.stat")
    used = _number(here / "memory.current")
    cpu_us = _fields(here / "cpu.stat").get("usage_usec")
    return Usage(
        cpu_ns=None if cpu_us is None else cpu_us * 1000,
        memory_bytes=used,
        working_set_bytes=_working_set(used, stat.get("inactive_file")),
        rss_bytes=stat.get("anon"),
        memory_limit_bytes=_number(here / "memory.max"),
        page_faults=stat.get("pgfault"),
        major_page_faults=stat.get("pgmajfault"),
        processes=_number(here / "pids.current"),
    )


def _controller(name: str, path: str) -> Path:
    return (ROOT if is_v2() else ROOT / name) / path.lstrip("/")


def _working_set(used: int | None, inactive: int | None) -> int | None:
    return None if used is None else max(0, used - (inactive or 0))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max"
        return None


def _fields(path: Path) -> dict[str, int]:
    """`name value` lines."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
