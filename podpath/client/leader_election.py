"""One leader among several processes, agreed on by a Lease.

    follow ──Lease free or expired──> lead ──renew──> lead
       ^                               │ no renewal within the deadline: LostLeadershipError
       └──── (a new process) ──────────┘ cancelled: the Lease is released

Whether another's Lease has expired is told by how long it has not changed on this process' own
monotonic clock, never by comparing the clocks of two machines.

Source: k8s.io/client-go tools/leaderelection (leaderelection.go, resourcelock/leaselock.go).
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from podpath.api.errors import ApiError
from podpath.api.scheme import LEASES
from podpath.client.interface import Reader, Writer
from podpath.component_base.clock import Clock
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.meta_v1_pb2 import MicroTime

log = logging.getLogger(__name__)

# Spreads contenders, so that not all try in the same moment.
JITTER = 1.2
# A server that does not answer is mostly just starting: asked again soon, then less often. Upstream
# waits for a whole retry period, and a new cluster with it.
UNANSWERED_RETRY_S = 0.1

ResultT = TypeVar("ResultT")


class LostLeadershipError(Exception):
    """The Lease could not be renewed in time: another process may lead now."""


class LeaseClient(Reader, Writer, Protocol):
    """What an elector needs of a client."""


@dataclass(frozen=True, slots=True)
class LeaseLock:
    """Which Lease, who contends, and the times (seconds); they must shrink from left to right."""

    namespace: str
    name: str
    identity: str
    lease_duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_period_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.identity:
            raise ValueError("leader election: identity must not be empty")
        if self.lease_duration_s <= self.renew_deadline_s:
            raise ValueError("leader election: lease duration must be greater than renew deadline")
        if self.renew_deadline_s <= self.retry_period_s * JITTER:
            raise ValueError("leader election: renew deadline must exceed 1.2 retry periods")


class LeaderElector:
    """Contends for one Lease. One `run()` at a time."""

    def __init__(
        self, client: LeaseClient, lock: LeaseLock, *, clock: Clock, rng: random.Random
    ) -> None:
        self._client = client
        self._lock = lock
        self._clock = clock
        self._rng = rng
        self._observed: Lease | None = None
        self._observed_at = 0.0
        self._leading = False

    @property
    def is_leader(self) -> bool:
        return self._leading

    @property
    def leader(self) -> str:
        """Identity of whoever leads as far as this process knows; empty when nobody does."""
        return self._observed.spec.holderIdentity if self._observed is not None else ""

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Waits to lead, then runs `lead()` for as long as the Lease is renewed.

        Returns when `lead` returns. Cancellation ends `lead` and then releases the Lease.
        Raises: LostLeadershipError, after `lead` was cancelled; what `lead` raises.
        """
        await self._acquire()
        self._leading = True
        log.info("leading", extra={"lease": self._name(), "identity": self._lock.identity})
        lost = False
        try:
            await self._lead_while_renewed(lead)
        except LostLeadershipError:
            lost = True
            raise
        finally:
            self._leading = False
            if not lost:
                await self._release()

    async def _lead_while_renewed(self, lead: Callable[[], Awaitable[None]]) -> None:
        work = asyncio.ensure_future(lead())
        renewal = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait((work, renewal), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, renewal):
                task.cancel()
            # Work must have ended before the Lease is released, else two would lead.
            await asyncio.gather(work, renewal, return_exceptions=True)
        if not renewal.cancelled() and (error := renewal.exception()) is not None:
            raise error
        work.result()

    async def _acquire(self) -> None:
        unanswered = 0
        while True:
            pause = self._lock.retry_period_s
            try:
                if await self._take_if_free():
                    return
                unanswered = 0
            except ApiError as error:
                self._warn(error)
                unanswered += 1
                pause = min(pause, UNANSWERED_RETRY_S * unanswered)
            await self._clock.sleep(pause * (1 + self._rng.random() * JITTER))

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._lock.retry_period_s)
            deadline = self._clock.monotonic() + self._lock.renew_deadline_s
            while not await self._within(deadline, self._renew_once()):
                if self._clock.monotonic() + self._lock.retry_period_s >= deadline:
                    raise LostLeadershipError(f"lease {self._name()} was not renewed in time")
                await self._clock.sleep(self._lock.retry_period_s)

    async def _within(self, deadline: float, attempt: Coroutine[Any, Any, bool]) -> bool:
        """The attempt's result; False when the deadline passes first."""
        trial = asyncio.ensure_future(attempt)
        timer = asyncio.ensure_future(
            self._clock.sleep(max(0.0, deadline - self._clock.monotonic()))
        )
        try:
            await asyncio.wait((trial, timer), return_when=asyncio.FIRST_COMPLETED)
            return trial.done() and trial.result()
        finally:
            trial.cancel()
            timer.cancel()

    async def _renew_once(self) -> bool:
        """True when this process holds the Lease then."""
        try:
            if self._observed is not None:
                try:
                    return await self._take(self._observed)
                except ApiError as error:
                    if error.reason not in ("Conflict", "NotFound"):
                        raise
            return await self._take_if_free()
        except ApiError as error:
            self._warn(error)
            return False

    def _warn(self, error: ApiError) -> None:
        log.warning(
            "leader election attempt failed", extra={"lease": self._name(), "error": str(error)}
        )

    async def _take_if_free(self) -> bool:
        """True when this process holds the Lease then. Raises: ApiError."""
        try:
            lease = await self._client.get(LEASES, self._lock.namespace, self._lock.name)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            fresh = Lease()
            fresh.metadata.namespace, fresh.metadata.name = self._lock.namespace, self._lock.name
            self._observe(
                await self._client.create(LEASES, next_lease(fresh, self._lock, self._now()))
            )
            return True
        if self._observed is None or lease.spec != self._observed.spec:
            self._observe(lease)
        if self._held_by_other(lease):
            return False
        return await self._take(lease)

    def _held_by_other(self, lease: Lease) -> bool:
        holder = lease.spec.holderIdentity
        if not holder or holder == self._lock.identity:
            return False
        return self._clock.monotonic() < self._observed_at + lease.spec.leaseDurationSeconds

    async def _take(self, lease: Lease) -> bool:
        self._observe(await self._client.update(LEASES, next_lease(lease, self._lock, self._now())))
        return True

    async def _release(self) -> None:
        """Lets the next one lead at once. Best effort: else the Lease just runs out."""
        if self._observed is None or self.leader != self._lock.identity:
            return
        lease = next_lease(self._observed, self._lock, self._now())
        lease.spec.holderIdentity = ""
        lease.spec.leaseDurationSeconds = 1
        try:
            async with asyncio.timeout(self._lock.retry_period_s):
                self._observe(await self._client.update(LEASES, lease))
        except (ApiError, TimeoutError) as error:
            log.warning("lease not released", extra={"lease": self._name(), "error": str(error)})

    def _observe(self, lease: Lease) -> None:
        if lease.spec.holderIdentity != self.leader:
            log.info(
                "new leader", extra={"lease": self._name(), "holder": lease.spec.holderIdentity}
            )
        self._observed = lease
        self._observed_at = self._clock.monotonic()

    def _now(self) -> datetime:
        return self._clock.now()

    def _name(self) -> str:
        return f"{self._lock.namespace}/{self._lock.name}"


def next_lease(current: Lease, lock: LeaseLock, now: datetime) -> Lease:
    """The Lease as it stands after `lock.identity` takes or renews it at `now`."""
    lease = Lease()
    lease.CopyFrom(current)
    spec = lease.spec
    stamp = MicroTime(seconds=int(now.timestamp()), nanos=now.microsecond * 1000)
    if current.spec.holderIdentity != lock.identity:
        if current.HasField("spec") and current.metadata.resourceVersion:
            spec.leaseTransitions = current.spec.leaseTransitions + 1
        else:
            spec.leaseTransitions = 0
        spec.acquireTime.CopyFrom(stamp)
    spec.holderIdentity = lock.identity
    spec.leaseDurationSeconds = max(1, round(lock.lease_duration_s))
    spec.renewTime.CopyFrom(stamp)
    return lease
