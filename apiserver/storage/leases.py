"""Leases shared by objects that expire, so that Events do not cost a lease each.

A lease is reused for a window (60 s, or a twentieth of a short TTL) and granted that much longer.
It holds at most MAX_GROUP objects, where upstream has 1,000: when it ends etcd deletes all of them
in one revision, and each deletion needs a version of its own (ADR 0001).

Source: k8s.io/apiserver pkg/storage/etcd3/lease_manager.go.
"""

import asyncio
from dataclasses import dataclass

from apiserver.storage.etcd_client import EtcdClient
from apiserver.storage.resource_version import MAX_GROUP
from podpath.component_base.clock import Clock

REUSE_WINDOW_S = 60.0
_REUSE_SHARE = 0.05


@dataclass(slots=True)
class _Lease:
    id: int
    reusable_until: float
    objects: int


def reuse_window_s(ttl_s: int) -> float:
    """How long a lease of this TTL takes on more objects, in seconds."""
    return min(REUSE_WINDOW_S, max(1.0, ttl_s * _REUSE_SHARE))


class LeaseManager:
    """Hands out lease ids. At most one lease is being granted at a time."""

    def __init__(self, client: EtcdClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._current: dict[int, _Lease] = {}
        self._granting = asyncio.Lock()

    async def lease_for(self, ttl_s: int) -> int:
        """A lease that ends between `ttl_s` and `ttl_s` + the window from now; 0 for `ttl_s` 0."""
        if ttl_s <= 0:
            return 0
        async with self._granting:
            lease = self._current.get(ttl_s)
            if lease is None or not self._reusable(lease):
                lease = await self._grant(ttl_s)
            lease.objects += 1
            return lease.id

    def forget(self) -> None:
        """A lease was not found: grant new ones."""
        self._current.clear()

    def _reusable(self, lease: _Lease) -> bool:
        return lease.objects < MAX_GROUP and self._clock.monotonic() < lease.reusable_until

    async def _grant(self, ttl_s: int) -> _Lease:
        window = reuse_window_s(ttl_s)
        # The window starts before the request: the lease is never older than it thinks.
        reusable_until = self._clock.monotonic() + window
        lease_id = await self._client.grant_lease(ttl_s + round(window))
        lease = self._current[ttl_s] = _Lease(lease_id, reusable_until, 0)
        return lease
