"""Things to do later, for everyone in the process, with one task and one sleep."""

import asyncio
import heapq
import itertools
from collections.abc import Callable

from podpath.component_base.clock import Clock


class Timers:
    """Calls back at given times. `run()` must run; late by as much as the loop is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._earlier = asyncio.Event()

    def at(self, due: float, call: Callable[[], None]) -> None:
        """Calls once Clock.monotonic() reaches `due`. It cannot be taken back: `call` must know
        whether it still counts."""
        entry = (due, next(self._sequence), call)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._earlier.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2]()
            self._earlier.clear()
            if not self._heap:
                await self._earlier.wait()
                continue
            await self._wait(self._heap[0][0] - self._clock.monotonic())

    async def _wait(self, seconds: float) -> None:
        sleep = asyncio.ensure_future(self._clock.sleep(max(0.0, seconds)))
        earlier = asyncio.ensure_future(self._earlier.wait())
        try:
            await asyncio.wait((sleep, earlier), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            earlier.cancel()
