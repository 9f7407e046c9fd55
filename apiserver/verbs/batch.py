"""Batches: the items run concurrently, so that storage coalesces their writes into one group."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from podpath.api import errors
from podpath.api.errors import ApiError

ITEMS_MAX = 1000

ResultT = TypeVar("ResultT")


async def run_all(
    calls: Iterable[Coroutine[Any, Any, ResultT]],
) -> Sequence[ResultT | ApiError]:
    """The outcome of each call, in order: one that fails stops no other."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    return [_outcome(outcome) for outcome in outcomes]


def check_size(count: int) -> None:
    """Raises: RequestEntityTooLarge."""
    if count > ITEMS_MAX:
        raise errors.too_large(f"a batch holds at most {ITEMS_MAX} items, got {count}")


def _outcome(outcome: ResultT | BaseException) -> ResultT | ApiError:
    if isinstance(outcome, BaseException) and not isinstance(outcome, ApiError):
        raise outcome
    return outcome
