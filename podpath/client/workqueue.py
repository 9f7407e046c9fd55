"""Keys that wait for work: each at most once in the queue, and never with two workers at once.

    add ──> queued ──get──> processing ──done──> gone
             ^                 │ added meanwhile
             └─────────────────┘ (on done)

`add_after` parks a key until its time; `add_rate_limited` parks it for the back-off that its
failures so far have earned.

Source: k8s.io/client-go util/workqueue (queue.go, delaying_queue.go, default_rate_limiters.go).
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from podpath.component_base.clock import Clock

BASE_DELAY_S = 0.005
MAX_DELAY_S = 1000.0
OVERALL_RATE = 10.0
OVERALL_BURST = 100

KeyT = TypeVar("KeyT", bound=Hashable)


class ShutDownError(Exception):
    """The queue is shut down and drained."""


class RateLimiter(Generic[KeyT]):
    """How long a failed key waits: the longer of its own back-off and the overall bucket's turn."""

    def __init__(
        self,
        clock: Clock,
        *,
        base_delay_s: float = BASE_DELAY_S,
        max_delay_s: float = MAX_DELAY_S,
        rate: float = OVERALL_RATE,
        burst: int = OVERALL_BURST,
    ) -> None:
        """`rate` is in keys per second, `burst` how many may go before it binds."""
        self._clock = clock
        self._base_delay_s = base_delay_s
        self._max_delay_s = max_delay_s
        self._interval_s = 1 / rate
        self._burst = burst
        self._failures: dict[KeyT, int] = {}
        # When the bucket would be full again; in the past when it is full.
        self._full_at = clock.monotonic()

    def when(self, key: KeyT) -> float:
        """Seconds to wait; counts one more failure of `key` and takes a token."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # 2 ** 64 base delays exceed any limit; without the cap the power would grow for ever.
        own = min(self._base_delay_s * 2.0 ** min(failures, 64), self._max_delay_s)
        return max(own, self._take_token())

    def forget(self, key: KeyT) -> None:
        self._failures.pop(key, None)

    def retries(self, key: KeyT) -> int:
        return self._failures.get(key, 0)

    def _take_token(self) -> float:
        now = self._clock.monotonic()
        self._full_at = max(self._full_at, now) + self._interval_s
        return max(0.0, self._full_at - now - self._burst * self._interval_s)


class WorkQueue(Generic[KeyT]):
    """The queue between informers' handlers and reconcile workers. `run()` moves parked keys."""

    def __init__(self, clock: Clock, limiter: RateLimiter[KeyT] | None = None) -> None:
        self._clock = clock
        self._limiter = limiter or RateLimiter(clock)
        self._queue: deque[KeyT] = deque()
        self._dirty: set[KeyT] = set()
        self._processing: set[KeyT] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._parked: list[tuple[float, int, KeyT]] = []
        self._due: dict[KeyT, float] = {}
        self._sequence = itertools.count()
        self._earlier = asyncio.Event()
        self._shut_down = False

    def __len__(self) -> int:
        """Keys that wait for a worker now; parked and processing ones are not counted."""
        return len(self._queue)

    def add(self, key: KeyT) -> None:
        """Queues the key unless it waits already; during its processing, for when that is done."""
        if self._shut_down or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: KeyT, seconds: float) -> None:
        """Queues the key in `seconds`; of several times for one key the earliest counts."""
        if self._shut_down:
            return
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._due.get(key, due + 1) <= due:
            return
        first = not self._parked or due < self._parked[0][0]
        self._due[key] = due
        heapq.heappush(self._parked, (due, next(self._sequence), key))
        if first:
            self._earlier.set()

    def add_rate_limited(self, key: KeyT) -> None:
        """Queues the key after its back-off; call `forget` once it succeeds."""
        self.add_after(key, self._limiter.when(key))

    def forget(self, key: KeyT) -> None:
        """The next failure of the key counts as its first."""
        self._limiter.forget(key)

    def retries(self, key: KeyT) -> int:
        return self._limiter.retries(key)

    async def get(self) -> KeyT:
        """The next key, now processing: call `done` after. Raises: ShutDownError when drained."""
        while not self._queue:
            if self._shut_down:
                raise ShutDownError
            await self._wait()
        key = self._queue.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: KeyT) -> None:
        """The worker is through with the key; if it was added meanwhile, it is queued again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._push(key)

    def shut_down(self) -> None:
        """Takes no more keys; those queued are still handed out, parked ones are dropped."""
        self._shut_down = True
        self._parked.clear()
        self._due.clear()
        self._earlier.set()
        while self._waiters:
            self._wake_one()

    def release_due(self) -> None:
        """Queues the parked keys whose time has come."""
        now = self._clock.monotonic()
        while self._parked and self._parked[0][0] <= now:
            due, _, key = heapq.heappop(self._parked)
            # An entry that a nearer time has replaced is stale.
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    async def run(self) -> None:
        """Queues parked keys when their time comes, until shut down or cancelled."""
        while not self._shut_down:
            self.release_due()
            self._earlier.clear()
            if not self._parked:
                await self._earlier.wait()
                continue
            delay = max(0.0, self._parked[0][0] - self._clock.monotonic())
            await self._sleep_until_earlier(delay)

    async def _sleep_until_earlier(self, seconds: float) -> None:
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        earlier = asyncio.ensure_future(self._earlier.wait())
        try:
            await asyncio.wait((sleep, earlier), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            earlier.cancel()

    def _push(self, key: KeyT) -> None:
        self._queue.append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Woken and cancelled at once: the key must not wait for a worker that is gone.
            if waiter.done() and not waiter.cancelled() and self._queue:
                self._wake_one()
            raise
