"""Who may start a program now: a few at once, those nearest to their end first.

Programs that make containers are short and use a whole core each. Twenty at once all finish at the
end; in turns each of them runs at full speed, and half of the Pods are there in half of the time.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum


class Rank(IntEnum):
    """What is done first when several wait: a container that only has to start is ahead of one that
    is to be created, and a Pod that has nothing yet comes last."""

    START = 0
    CREATE = 1
    REMOVE = 2
    SANDBOX = 3


KEEP_S = 0.03
"""What a kubelet needs to come back with the next step of a Pod."""


class Turns:
    """At most `width` at once; of those that wait the lowest rank, then who came first.

    When a Pod has a next step and else only new Pods wait, its turn is kept for a moment: it would
    else go to the next sandbox, and all Pods would be half done before the first one is.
    """

    def __init__(self, width: int, keep_s: float = KEEP_S) -> None:
        self._free = width
        self._keep_s = keep_s
        self._kept: deque[asyncio.TimerHandle] = deque()
        self._waiting: list[tuple[Rank, int, asyncio.Future[None]]] = []
        self._came = 0

    @asynccontextmanager
    async def turn(self, rank: Rank) -> AsyncIterator[None]:
        await self._take(rank)
        try:
            yield
        finally:
            self._give(rank)

    async def _take(self, rank: Rank) -> None:
        if self._free:
            self._free -= 1
            return
        if self._kept and rank < Rank.SANDBOX:
            self._kept.popleft().cancel()
            return
        called = asyncio.get_running_loop().create_future()
        self._came += 1
        heapq.heappush(self._waiting, (rank, self._came, called))
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._give(rank)  # it was this one's turn already
            raise

    def _give(self, done: Rank) -> None:
        """To whom it is due next."""
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)  # gave up
        if not self._waiting:
            self._free += 1
        elif done in (Rank.SANDBOX, Rank.CREATE) and self._waiting[0][0] is Rank.SANDBOX:
            self._kept.append(
                asyncio.get_running_loop().call_later(self._keep_s, self._kept_in_vain)
            )
        else:
            heapq.heappop(self._waiting)[2].set_result(None)

    def _kept_in_vain(self) -> None:
        self._kept.popleft()  # all are kept for the same time: it is the oldest
        self._give(Rank.START)
