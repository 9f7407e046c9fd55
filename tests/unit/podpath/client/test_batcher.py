"""Coalescing under backlog."""

import asyncio

import pytest

from podpath.api import errors
from podpath.api.errors import ApiError
from podpath.client.batcher import Batcher


class Server:
    """Answers when it is let. `calls` are the batches it saw; a call alone is a batch of one."""

    def __init__(self):
        self.calls = []
        self._gate = asyncio.Event()

    def let(self):
        self._gate.set()

    async def one(self, item):
        return (await self.many([item]))[0]

    async def many(self, items):
        self.calls.append(list(items))
        await self._gate.wait()
        if "broken" in items:
            raise errors.service_unavailable("gone")
        return [errors.bad_request(i) if i == "bad" else i.upper() for i in items]


async def settled(batcher, items):
    waiting = [asyncio.ensure_future(batcher.call(item)) for item in items]
    await asyncio.sleep(0)
    return waiting


async def test_alone_goes_at_once():
    server = Server()
    server.let()
    assert await Batcher(server.one, server.many).call("a") == "A"
    assert server.calls == [["a"]]


async def test_those_that_wait_go_together():
    server = Server()
    waiting = await settled(Batcher(server.one, server.many, in_flight_max=1), "abcd")
    assert server.calls == [["a"]]
    server.let()
    assert await asyncio.gather(*waiting) == ["A", "B", "C", "D"]
    assert server.calls == [["a"], ["b", "c", "d"]]


async def test_batches_are_bounded():
    server = Server()
    batcher = Batcher(server.one, server.many, in_flight_max=1, items_max=2)
    waiting = await settled(batcher, "abcde")
    server.let()
    await asyncio.gather(*waiting)
    assert server.calls == [["a"], ["b", "c"], ["d", "e"]]


async def test_one_failure_is_one_callers():
    server = Server()
    waiting = await settled(Batcher(server.one, server.many, in_flight_max=1), ["a", "bad", "c"])
    server.let()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert (results[0], results[2]) == ("A", "C")
    assert isinstance(results[1], ApiError)


async def test_a_lost_batch_fails_all_of_it_and_the_next_goes_on():
    server = Server()
    batcher = Batcher(server.one, server.many, in_flight_max=1)
    waiting = await settled(batcher, ["a", "b", "broken"])
    server.let()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[0] == "A"
    assert [r.reason for r in results[1:]] == ["ServiceUnavailable", "ServiceUnavailable"]
    assert await batcher.call("d") == "D"


async def test_whoever_gives_up_waiting_is_left_out():
    server = Server()
    waiting = await settled(Batcher(server.one, server.many, in_flight_max=1), "abc")
    waiting[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[1]
    server.let()
    await asyncio.gather(waiting[0], waiting[2])
    assert server.calls == [["a"], ["c"]]


@pytest.mark.parametrize("fault", ["raises", "too few"])
async def test_a_fault_in_a_batch_is_an_error_to_its_callers(fault):
    async def many(items):
        if fault == "raises":
            raise KeyError("a bug")
        return []

    server = Server()
    batcher = Batcher(server.one, many, in_flight_max=1)
    waiting = await settled(batcher, "abc")
    server.let()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[0] == "A"
    assert [r.reason for r in results[1:]] == ["InternalError", "InternalError"]
    assert await batcher.call("d") == "D"
