"""Figures from cgroup files, as either version of the hierarchy has them."""

from pathlib import Path

import pytest

from runtime_shim import cgroups
from runtime_shim.backends import nerdctl_stats

POD, CONTAINER = "/kubepods/pod1", "/kubepods/pod1/c1"
V1 = {
    "cpuacct": {"cpuacct.usage": "7000000000\n"},
    "memory": {
        "memory.stat": "total_inactive_file 100\ntotal_rss 300\ntotal_pgfault 5\n"
        "total_pgmajfault 1\n",
        "memory.usage_in_bytes": "1000\n",
        "memory.limit_in_bytes": "4000\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    },
    "pids": {"pids.current": "3\n", "cgroup.procs": "11\n12\n"},
}
V2 = {
    "cpu.stat": "usage_usec 7000000\nuser_usec 1\n",
    "memory.stat": "anon 300\ninactive_file 100\npgfault 5\npgmajfault 1\n",
    "memory.current": "1000\n",
    "memory.max": "4000\n",
    "memory.events": "low 0\noom 1\noom_kill 1\n",
    "pids.current": "3\n",
    "cgroup.procs": "11\n12\n",
}
EXPECTED = cgroups.Usage(
    cpu_ns=7_000_000_000,
    memory_bytes=1000,
    working_set_bytes=900,
    rss_bytes=300,
    memory_limit_bytes=4000,
    page_faults=5,
    major_page_faults=1,
    processes=3,
)


@pytest.fixture(params=["v1", "v2"])
def hierarchy(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    if request.param == "v2":
        (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
        write(tmp_path / CONTAINER.lstrip("/"), V2)
    else:
        for controller, files in V1.items():
            write(tmp_path / controller / CONTAINER.lstrip("/"), files)
    return tmp_path


def write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def test_usage(hierarchy: Path) -> None:
    assert cgroups.usage(CONTAINER) == EXPECTED
    assert cgroups.oom_killed(CONTAINER)
    assert sorted(cgroups.processes(CONTAINER)) == [11, 12]
    assert sorted(cgroups.processes(POD)) == [11, 12]


def test_a_cgroup_that_is_gone(hierarchy: Path) -> None:
    usage = cgroups.usage("/kubepods/gone")
    assert {getattr(usage, name) for name in usage.__slots__} == {None}
    assert not cgroups.oom_killed("/kubepods/gone")
    assert cgroups.processes("/kubepods/gone") == []


def test_what_is_not_limited_has_nothing_available(hierarchy: Path) -> None:
    memory = nerdctl_stats.of_container(CONTAINER, 0, 1).memory
    assert memory.available_bytes.value == 4000 - 900
    for path in hierarchy.rglob("memory.max"):
        path.write_text("max\n")
    for path in hierarchy.rglob("memory.limit_in_bytes"):
        path.write_text("9223372036854771712\n")
    memory = nerdctl_stats.of_container(CONTAINER, 0, 1).memory
    assert memory.working_set_bytes.value == 900
    assert not memory.HasField("available_bytes")


def test_a_pods_figures_are_its_containers_without_a_cgroup_of_its_own(hierarchy: Path) -> None:
    stats = nerdctl_stats.of_sandbox("", [CONTAINER, CONTAINER], 0, 1)
    assert stats.cpu.usage_core_nano_seconds.value == 14_000_000_000
    assert stats.memory.working_set_bytes.value == 1800
    assert stats.process.process_count.value == 6


def test_an_empty_cgroup_is_removed(hierarchy: Path) -> None:
    for path in list(hierarchy.rglob("pod1/c1/*")):
        path.unlink()
    for path in list(hierarchy.rglob("pod1/c1")):
        path.rmdir()
    cgroups.remove_empty(POD)
    assert list(hierarchy.rglob("pod1")) == []
