"""How admission, authorization and verbs look at objects other than the one at hand."""

from collections.abc import Callable, Sequence
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


class ChangeSource(Protocol):
    """The watch caches, as seen by those who keep an index of their own (RBAC, the node graph)."""

    def subscribe(
        self,
        resource: Resource[ObjectT],
        on_change: Callable[[ObjectT | None, ObjectT | None], None],
    ) -> None:
        """Calls `on_change(None, object)` for what the cache holds, then `on_change(old, new)` for
        each change right after the cache took it in (`new` is None for a deletion).

        Objects are shared and read-only; the callback is synchronous, short and never raises.
        """
