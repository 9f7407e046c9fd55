"""Coalesces concurrent calls of one kind into batches, under backlog only.

A call that finds the way free goes alone and at once. Those that come while `in_flight_max` are
under way wait for one of these to return, and then go together: nothing is ever delayed that could
have gone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from podpath.api import errors
from podpath.api.errors import ApiError

_LOG = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

RunOne = Callable[[ItemT], Awaitable[ResultT]]
RunMany = Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT | ApiError]]]


class Batcher(Generic[ItemT, ResultT]):
    """`run_many` answers with one result for each item, in order."""

    def __init__(
        self,
        run_one: "RunOne[ItemT, ResultT]",
        run_many: "RunMany[ItemT, ResultT]",
        *,
        in_flight_max: int = 2,
        items_max: int = 250,
    ) -> None:
        self._run_one = run_one
        self._run_many = run_many
        self._in_flight_max = in_flight_max
        self._items_max = items_max
        self._in_flight = 0
        self._waiting: deque[tuple[ItemT, asyncio.Future[ResultT]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, item: ItemT) -> ResultT:
        """The item's own result. Raises: ApiError."""
        if self._in_flight >= self._in_flight_max:
            result: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
            self._waiting.append((item, result))
            return await result
        self._in_flight += 1
        try:
            return await self._run_one(item)
        finally:
            self._returned()

    def _returned(self) -> None:
        """One came back: those that wait go now."""
        self._in_flight -= 1
        batch: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        while self._waiting and len(batch) < self._items_max:
            item, result = self._waiting.popleft()
            if not result.done():
                batch.append((item, result))
        if batch:
            self._in_flight += 1
            task = asyncio.get_running_loop().create_task(self._run(batch), name="batch")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        try:
            outcomes = await self._run_many([item for item, _ in batch])
            if len(outcomes) != len(batch):
                wrong = f"{len(outcomes)} results for {len(batch)} items"
                raise errors.internal_error(wrong)
        except ApiError as error:
            outcomes = [error] * len(batch)
        except Exception as error:
            _LOG.exception("a batch call failed unexpectedly")
            outcomes = [errors.internal_error(repr(error))] * len(batch)
        except BaseException:
            # Cancelled with the process: those who wait were not, and want an answer.
            outcomes = [errors.service_unavailable("the call was given up")] * len(batch)
            raise
        finally:
            self._returned()
            for (_, result), outcome in zip(batch, outcomes, strict=True):
                if not result.done():
                    _settle(result, outcome)


def _settle(result: "asyncio.Future[ResultT]", outcome: "ResultT | ApiError") -> None:
    if isinstance(outcome, ApiError):
        result.set_exception(ApiError(outcome.status))
    else:
        result.set_result(outcome)
