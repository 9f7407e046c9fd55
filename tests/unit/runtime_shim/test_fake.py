"""What is declared by annotations happens, at the declared time."""

import asyncio
from pathlib import Path

import pytest

from podpath.component_base.clock import FakeClock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backends.fake import AddressPool
from runtime_shim.checkpoint import JournalCheckpoints
from runtime_shim.errors import Code, CriError
from tests.support.shims import container_config, fake_shim, in_memory, sandbox_config

P = "fake.podpath.io/"


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_container_ends_when_it_was_declared_to() -> None:
    clock = FakeClock()
    async with fake_shim(clock) as shim:
        calls = in_memory(shim)
        annotations = {P + "exit-after": "5", P + "exit-code": "3"}
        _, container_id = await calls.running(
            sandbox_config(annotations=annotations), container_config()
        )
        await settle()
        clock.step(4.9)
        await settle()
        assert (await calls.status(container_id)).state == cri.CONTAINER_RUNNING
        clock.step(0.2)
        await settle()
        status = await calls.status(container_id)
        assert (status.state, status.exit_code, status.reason) == (cri.CONTAINER_EXITED, 3, "Error")
        assert status.finished_at - status.started_at == 5_000_000_000


async def test_the_earlier_of_two_ends_comes_first() -> None:
    clock = FakeClock()
    async with fake_shim(clock) as shim:
        calls = in_memory(shim)
        sandbox = sandbox_config(
            annotations={P + "late.exit-after": "9", P + "soon.exit-after": "1"}
        )
        sandbox_id, late = await calls.running(sandbox, container_config("late"))
        await settle()
        soon = await calls.create(sandbox_id, container_config("soon"), sandbox)
        await calls.start(soon)
        await settle()
        clock.step(1)
        await settle()
        assert (await calls.status(soon)).state == cri.CONTAINER_EXITED
        assert (await calls.status(late)).state == cri.CONTAINER_RUNNING


@pytest.mark.parametrize("stage", ["sandbox", "create", "start"])
async def test_a_declared_failure(stage: str) -> None:
    async with fake_shim(FakeClock()) as shim:
        calls = in_memory(shim)
        sandbox = sandbox_config(annotations={P + f"fail-{stage}": "no luck"})
        with pytest.raises(CriError) as raised:
            await calls.running(sandbox, container_config())
        assert raised.value.message == "no luck"
        for container in await calls.containers():
            status = await calls.status(container.id)
            assert (status.exit_code, status.reason) == (128, "StartError")


async def test_a_stage_takes_its_declared_time() -> None:
    clock = FakeClock()
    async with fake_shim(clock) as shim:
        calls = in_memory(shim)
        sandbox = sandbox_config(annotations={P + "start-delay": "2"})
        starting = asyncio.ensure_future(calls.running(sandbox, container_config()))
        await settle()
        assert not starting.done()
        clock.step(2)
        await starting


@pytest.mark.parametrize(
    ("delay", "grace", "code"),
    [
        pytest.param("0", 5, 143, id="obeys"),
        pytest.param("3", 5, 143, id="obeys in time"),
        pytest.param("9", 5, 137, id="is killed"),
        pytest.param("0", 0, 137, id="gets no grace"),
    ],
)
async def test_stopping(delay: str, grace: int, code: int) -> None:
    clock = FakeClock()
    async with fake_shim(clock) as shim:
        calls = in_memory(shim)
        sandbox = sandbox_config(annotations={P + "stop-delay": delay})
        _, container_id = await calls.running(sandbox, container_config())
        stopping = asyncio.ensure_future(calls.stop(container_id, grace))
        await settle()
        clock.step(min(float(delay), grace))
        await stopping
        assert (await calls.status(container_id)).exit_code == code


async def test_a_shorter_grace_period_is_heard() -> None:
    clock = FakeClock()
    async with fake_shim(clock) as shim:
        calls = in_memory(shim)
        sandbox = sandbox_config(annotations={P + "stop-delay": "100"})
        _, container_id = await calls.running(sandbox, container_config())
        slow = asyncio.ensure_future(calls.stop(container_id, 60))
        await settle()
        await calls.stop(container_id, 0)
        await slow
        assert (await calls.status(container_id)).exit_code == 137


async def test_an_exec_over_time_is_an_error() -> None:
    clock = FakeClock()
    async with fake_shim(clock) as shim:
        calls = in_memory(shim)
        sandbox = sandbox_config(annotations={P + "exec-delay": "10"})
        _, container_id = await calls.running(sandbox, container_config())
        request = cri.ExecSyncRequest(container_id=container_id, cmd=["x"], timeout=1)
        running = asyncio.ensure_future(shim.exec_sync(request))
        await settle()
        clock.step(1)
        with pytest.raises(CriError) as raised:
            await running
        assert raised.value.code is Code.DEADLINE_EXCEEDED


async def test_a_restarted_shim_knows_everything(tmp_path: Path) -> None:
    clock = FakeClock()
    path = tmp_path / "journal"
    sandbox = sandbox_config(annotations={P + "short.exit-after": "5"})
    async with fake_shim(clock, JournalCheckpoints(path)) as shim:
        calls = in_memory(shim)
        sandbox_id, long = await calls.running(sandbox, container_config("long"))
        short = await calls.create(sandbox_id, container_config("short"), sandbox)
        await calls.start(short)
        started_at = (await calls.status(short)).started_at
        ip = (await calls.sandbox_status(sandbox_id)).network.ip
        request = cri.UpdateRuntimeConfigRequest()
        request.runtime_config.network_config.pod_cidr = "10.9.0.0/24"
        await shim.update_runtime_config(request)
    clock.step(60)
    async with fake_shim(clock, JournalCheckpoints(path)) as shim:
        calls = in_memory(shim)
        await settle()
        assert (await calls.status(long)).state == cri.CONTAINER_RUNNING
        ended = await calls.status(short)
        assert ended.finished_at == started_at + 5_000_000_000
        assert (await calls.sandbox_status(sandbox_id)).network.ip == ip
        other = await calls.run_sandbox(sandbox_config("other"))
        assert (await calls.sandbox_status(other)).network.ip == "10.9.0.2"
        with pytest.raises(CriError) as raised:
            await calls.run_sandbox(sandbox)
        assert raised.value.code is Code.ALREADY_EXISTS


def test_addresses_are_used_again_only_when_given_back() -> None:
    pool = AddressPool("10.0.0.0/29")
    given = [pool.next() for _ in range(5)]
    assert given == [f"10.0.0.{n}" for n in range(2, 7)]
    with pytest.raises(CriError) as raised:
        pool.next()
    assert raised.value.code is Code.RESOURCE_EXHAUSTED
    pool.give_back("10.0.0.4")
    assert pool.next() == "10.0.0.4"


async def test_two_thousand_pods_leave_nothing_behind() -> None:
    async with fake_shim(FakeClock()) as shim:
        calls = in_memory(shim)
        for number in range(2000):
            sandbox_id, _ = await calls.running(sandbox_config(f"pod-{number}"), container_config())
            await calls.remove_sandbox(sandbox_id)
        state = shim.runtime.state
        assert not state.sandboxes
        assert not state.containers
        assert not state._members
        assert not state._reserved
        backend = shim.runtime.backend("")
        assert not backend._declared  # type: ignore[attr-defined]
        assert not backend._addresses._used  # type: ignore[attr-defined]
