"""Many callers, one call: a read whose answer must not be older than the question."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Coalesced(Generic[_T]):
    """Shares calls of `read`. A caller never gets the answer of a read that began before it asked:
    those who come while one is under way share the next. A failed read fails all who share it."""

    def __init__(self, read: Callable[[], Awaitable[_T]]) -> None:
        self._read = read
        self._turn = asyncio.Lock()
        self._asked = 0
        self._covered = 0  # callers up to this one are answered by what follows
        self._answer: _T | None = None
        self._error: Exception | None = None

    async def __call__(self) -> _T:
        self._asked += 1
        mine = self._asked
        async with self._turn:
            if self._covered < mine:
                await self._ask()
            if self._error is not None:
                raise self._error
            return self._answer  # type: ignore[return-value]  # set by every read that worked

    async def _ask(self) -> None:
        sharing = self._asked
        self._error = None
        try:
            self._answer = await self._read()
        except Exception as error:
            self._error = error
        self._covered = sharing
