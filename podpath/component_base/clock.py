"""Time as a dependency: whoever needs it takes a Clock, so tests decide what time it is."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """`now` is for timestamps that leave the process, `monotonic` for elapsed time."""

    def now(self) -> datetime:
        """The present moment, in UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FakeClock:
    """A clock that only moves when it is told to. For tests."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, wake))
        await wake

    def step(self, seconds: float) -> None:
        """Moves time on and wakes those whose sleep is over."""
        self._elapsed += seconds
        due = [wake for at, wake in self._sleepers if at <= self._elapsed]
        self._sleepers = [(at, wake) for at, wake in self._sleepers if at > self._elapsed]
        for wake in due:
            if not wake.done():
                wake.set_result(None)
