"""A client whose server is far away: calls are late, get lost on either way, and streams break."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from podpath.api import errors
from podpath.client.interface import EVERYTHING, Client
from podpath.component_base.clock import Clock


@dataclass(slots=True)
class Faults:
    """Probabilities, each for one call or one batch of events; `delay_s` is the longest delay."""

    delay_s: float = 0.0
    lost_requests: float = 0.0
    lost_answers: float = 0.0
    broken_streams: float = 0.0


class BadNetwork:
    """A Client in front of another. `is_down` cuts everything off, as a server that is killed."""

    def __init__(self, inner: Client, clock: Clock, rng: random.Random, faults: Faults) -> None:
        self._inner = inner
        self._clock = clock
        self._rng = rng
        self.faults = faults
        self._up = True
        self._went_down = asyncio.Event()

    @property
    def is_down(self) -> bool:
        return not self._up

    def go_down(self) -> None:
        """Calls under way are lost, streams break, until `go_up`."""
        self._up = False
        self._went_down.set()

    def go_up(self) -> None:
        if self.is_down:
            self._up = True
            self._went_down = asyncio.Event()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """The unary calls, all alike."""
        method = getattr(self._inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            down = self._went_down
            await self._travel(down, self.faults.lost_requests, "request")
            answer = await method(*args, **kwargs)
            await self._travel(down, self.faults.lost_answers, "answer")
            return answer

        return call

    async def watch(
        self, resource: Any, selection: Any = EVERYTHING, **options: Any
    ) -> AsyncIterator[Sequence[Any]]:
        down = self._went_down
        await self._travel(down, self.faults.lost_requests, "watch")
        stream = self._inner.watch(resource, selection, **options)
        try:
            while True:
                events = await self._next(stream, down)
                await self._travel(down, self.faults.broken_streams, "stream")
                yield events
        except StopAsyncIteration:
            return
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    async def _next(self, stream: AsyncIterator[Any], down: asyncio.Event) -> Any:
        """The next events, unless the stream breaks first."""
        following = asyncio.ensure_future(anext(stream))
        breaking = asyncio.ensure_future(down.wait())
        try:
            await asyncio.wait((following, breaking), return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise errors.service_unavailable("the stream broke")
            return following.result()
        finally:
            breaking.cancel()
            following.cancel()
            await asyncio.gather(following, breaking, return_exceptions=True)

    async def _travel(self, down: asyncio.Event, loss: float, what: str) -> None:
        if self.faults.delay_s:
            await self._clock.sleep(self._rng.random() * self.faults.delay_s)
        if down.is_set() or self.is_down or self._rng.random() < loss:
            raise errors.service_unavailable(f"the {what} was lost")
