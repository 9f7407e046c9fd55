"""Rotation of containers' logs: what becomes of which file, and what a failure leaves."""

import asyncio
import gzip

import pytest

from kubelet.container_log_manager import ContainerLogManager, LogPolicy, Plan, older_logs, plan
from kubelet.cri_client import CriError
from podpath.component_base.clock import FakeClock
from protos.cri import runtime_v1_pb2 as cri

SMALL = LogPolicy(max_bytes=10, max_files=3, period_s=10)


class Runtime:
    """Opens the log anew, as the log daemon does."""

    def __init__(self, path):
        self.path = path
        self.problem = None
        self.asked = 0

    async def ReopenContainerLog(self, request):
        assert request.container_id == "c"
        self.asked += 1
        if self.problem:
            raise self.problem
        self.path.touch()
        return cri.ReopenContainerLogResponse()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0.log"


@pytest.fixture
def runtime(path):
    return Runtime(path)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def manager(runtime, path, clock):
    running = [cri.ContainerStatus(id="c", log_path=str(path)), cri.ContainerStatus(id="silent")]
    return ContainerLogManager(runtime, lambda: running, SMALL, clock)


@pytest.mark.parametrize(
    ("older", "expected"),
    [
        pytest.param([], Plan((), ()), id="the first time"),
        pytest.param(["l.1"], Plan((), ("l.1",)), id="what was moved last is packed"),
        pytest.param(["l.1.gz", "l.2"], Plan((), ("l.2",)), id="as many as fit"),
        pytest.param(
            ["l.3", "l.1.gz", "l.2.gz", "l.0.gz"],
            Plan(("l.0.gz", "l.1.gz"), ("l.3",)),
            id="the oldest go",
        ),
        pytest.param(["l.1.gz.tmp", "l.1"], Plan(("l.1.gz.tmp",), ("l.1",)), id="a draft goes"),
        pytest.param(["l.1.gz", "l.1"], Plan(("l.1",), ()), id="packed, but not yet removed"),
    ],
)
def test_what_becomes_of_older_files(older, expected):
    assert plan(older, max_files=4) == expected


async def test_a_log_grows_through_its_files(manager, path, clock):
    for number in range(5):
        path.write_text(f"{number}" * 20)
        await manager.rotate("c", path)
        clock.step(1)
    files = sorted(older_logs(path))
    assert [f.suffix for f in files][-1] != ".gz"
    assert files[-1].read_text() == "4" * 20
    assert [gzip.decompress(f.read_bytes()) for f in files[:-1]] == [b"3" * 20]
    assert path.read_text() == ""


async def test_a_runtime_that_does_not_reopen_leaves_the_file_in_its_place(manager, path, runtime):
    path.write_text("x" * 20)
    runtime.problem = CriError("UNAVAILABLE", "away")
    with pytest.raises(CriError):
        await manager.rotate("c", path)
    assert path.read_text() == "x" * 20
    assert older_logs(path) == []


async def test_a_log_that_a_dead_kubelet_moved_is_opened_anew(manager, path, runtime, clock):
    path.with_name("0.log.20260101-000000").write_text("the runtime still writes here")
    task = asyncio.ensure_future(manager.run())
    try:
        await asyncio.sleep(0)
        clock.step(SMALL.period_s)
        await asyncio.sleep(0.05)
        assert runtime.asked == 1
        assert path.exists()
    finally:
        task.cancel()


async def test_only_large_logs_are_rotated_and_failures_are_tried_again(
    manager, path, runtime, clock
):
    async def a_period():
        clock.step(SMALL.period_s)
        await asyncio.sleep(0.05)

    task = asyncio.ensure_future(manager.run())
    try:
        await asyncio.sleep(0)
        path.write_text("x" * 9)
        await a_period()
        assert runtime.asked == 0
        path.write_text("x" * 10)
        runtime.problem = CriError("UNAVAILABLE", "away")
        await a_period()
        assert (runtime.asked, older_logs(path)) == (1, [])
        runtime.problem = None
        await a_period()
        assert runtime.asked == 2
        assert [f.read_text() for f in older_logs(path)] == ["x" * 10]
    finally:
        task.cancel()
