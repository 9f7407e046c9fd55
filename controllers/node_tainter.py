"""Gives silent nodes their NoExecute taint, in each zone no faster than the zone's state allows.

Taints, not evictions, are held back: Pods leave a tainted node on their own terms.

Source: k8s.io/kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go
(doNoExecuteTaintingPass).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from controllers.node_zones import RateLimiter, Zone
from podpath.api.errors import ApiError
from podpath.component_base.clock import Clock

log = logging.getLogger(__name__)

PERIOD_S = 0.1


@dataclass(slots=True)
class _ZoneQueue:
    """`waiting` are names of nodes, in the order in which they fell silent."""

    limiter: RateLimiter
    waiting: dict[str, None] = field(default_factory=dict)


class NoExecuteTainter:
    """`taint` writes the taint of the node of that name, if it still has to have one."""

    def __init__(
        self, taint: Callable[[str], Awaitable[None]], rate: float, *, clock: Clock
    ) -> None:
        """`rate`: of zones that nothing is known of yet."""
        self._taint = taint
        self._rate = rate
        self._clock = clock
        self._zones: dict[Zone, _ZoneQueue] = {}
        self._has_work = asyncio.Event()

    def add(self, zone: Zone, node: str) -> None:
        """Idempotent: a node that waits keeps its place."""
        self._zone(zone).waiting[node] = None
        self._has_work.set()

    def remove(self, node: str) -> None:
        for zone in self._zones.values():
            zone.waiting.pop(node, None)

    def set_rates(self, rates: Mapping[Zone, float]) -> None:
        for zone, rate in rates.items():
            self._zone(zone).limiter.set_rate(rate, self._clock.monotonic())

    def _zone(self, zone: Zone) -> _ZoneQueue:
        return self._zones.setdefault(zone, _ZoneQueue(RateLimiter(self._rate)))

    async def run(self) -> None:
        """Until cancelled; looks at the limiters only while nodes wait."""
        while True:
            await self._has_work.wait()
            for zone in list(self._zones.values()):
                await self._process(zone)
            if not any(zone.waiting for zone in self._zones.values()):
                self._has_work.clear()
            await self._clock.sleep(PERIOD_S)

    async def _process(self, zone: _ZoneQueue) -> None:
        while zone.waiting and zone.limiter.try_accept(self._clock.monotonic()):
            node = next(iter(zone.waiting))
            try:
                await self._taint(node)
            except ApiError as error:
                log.warning("node not tainted", extra={"node": node, "error": str(error)})
                return  # its turn comes again
            zone.waiting.pop(node, None)
