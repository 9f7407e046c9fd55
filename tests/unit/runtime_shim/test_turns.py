"""Turns: how many at once, in which order, and what a cancelled one leaves."""

import asyncio

import pytest

from runtime_shim.turns import Rank, Turns


async def worker(turns: Turns, rank: Rank, name: str, log: list[str], go: asyncio.Event) -> None:
    async with turns.turn(rank):
        log.append(name)
        await go.wait()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_nearest_to_their_end_go_first() -> None:
    turns, log, go = Turns(1), [], asyncio.Event()
    asked = [
        *((Rank.SANDBOX, "sandbox 1"), (Rank.SANDBOX, "sandbox 2"), (Rank.CREATE, "create 1")),
        *((Rank.START, "start 1"), (Rank.CREATE, "create 2"), (Rank.START, "start 2")),
    ]
    async with asyncio.TaskGroup() as tasks:
        for rank, name in asked:
            tasks.create_task(worker(turns, rank, name, log, go))
            await settle()
        assert log == ["sandbox 1"]
        go.set()
    assert log == ["sandbox 1", "start 1", "start 2", "create 1", "create 2", "sandbox 2"]


async def test_a_sandboxes_turn_is_kept_for_its_container() -> None:
    turns, log, go = Turns(1, keep_s=60), [], asyncio.Event()
    go.set()

    async def pod(name: str) -> None:
        await worker(turns, Rank.SANDBOX, f"sandbox {name}", log, go)
        await settle()  # the way to the caller and back
        await worker(turns, Rank.CREATE, f"create {name}", log, go)
        await settle()
        await worker(turns, Rank.START, f"start {name}", log, go)

    async with asyncio.timeout(30):
        await asyncio.gather(pod("1"), pod("2"), pod("3"))
    assert log[:2] == ["sandbox 1", "create 1"]
    assert log.index("start 1") < log.index("sandbox 2")


async def test_it_is_not_kept_for_long() -> None:
    turns, log, go = Turns(1, keep_s=0.001), [], asyncio.Event()
    go.set()
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(worker(turns, Rank.SANDBOX, name, log, go) for name in ("1", "2", "3"))
        )
    assert log == ["1", "2", "3"]


async def test_no_more_than_the_width_at_once() -> None:
    turns, log, go = Turns(2), [], asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(worker(turns, Rank.START, str(number), log, go))
        await settle()
        assert log == ["0", "1"]
        go.set()
    assert len(log) == 5


@pytest.mark.parametrize("called", [False, True], ids=["waiting", "called"])
async def test_a_cancelled_one_holds_no_turn(called: bool) -> None:
    turns, log, go = Turns(1), [], asyncio.Event()
    first = asyncio.ensure_future(worker(turns, Rank.START, "first", log, go))
    await settle()
    second = asyncio.ensure_future(worker(turns, Rank.START, "second", log, go))
    await settle()
    if called:
        go.set()
        await first  # the second is called, and cancelled before it runs
    second.cancel()
    await asyncio.wait([second])
    go.set()
    await first
    async with asyncio.timeout(1):
        await worker(turns, Rank.SANDBOX, "third", log, go)
    assert log[0] == "first"
    assert log[-1] == "third"
