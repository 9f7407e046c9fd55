"""How admission, authorization and verbs look at objects other than the one at hand."""

from collections.abc import Sequence
from typing import Protocol

from podpath.api.scheme import ObjectT, Resource


class Lister(Protocol):
    """Reads from the watch caches; objects are shared and read-only."""

    def get(self, resource: Resource[ObjectT], namespace: str, name: str) -> ObjectT | None:
        """What the cache holds: it may lag behind etcd by a moment."""

    def list(self, resource: Resource[ObjectT], namespace: str = "") -> Sequence[ObjectT]:
        """Everything in the cache, or in one namespace."""

    async def get_live(
        self, resource: Resource[ObjectT], namespace: str, name: str
    ) -> ObjectT | None:
        """Straight from storage: never stale."""
