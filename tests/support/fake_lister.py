"""A Lister and ChangeSource over a dictionary, for tests of admission and authorization."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from podpath.api.scheme import Resource


class FakeLister:
    """What `put` and `remove` say is there. `stale` objects are seen by `get_live` only.

    `live_reads` records what was asked of storage: (resource name, namespace, name).
    """

    def __init__(self, *objects: tuple[Resource[Any], Message]) -> None:
        self._objects: dict[Resource[Any], dict[tuple[str, str], Any]] = {}
        self._stale: dict[tuple[Resource[Any], str, str], Any] = {}
        self._subscribers: dict[Resource[Any], list[Callable[[Any, Any], None]]] = {}
        self.live_reads: list[tuple[str, str, str]] = []
        for resource, obj in objects:
            self.put(resource, obj)

    def put(self, resource: Resource[Any], obj: Any) -> None:
        key = (obj.metadata.namespace, obj.metadata.name)
        held = self._objects.setdefault(resource, {})
        old, held[key] = held.get(key), obj
        for callback in self._subscribers.get(resource, ()):
            callback(old, obj)

    def put_stale(self, resource: Resource[Any], obj: Any) -> None:
        """In storage, not yet in the cache."""
        self._stale[resource, obj.metadata.namespace, obj.metadata.name] = obj

    def remove(self, resource: Resource[Any], namespace: str, name: str) -> None:
        old = self._objects[resource].pop((namespace, name))
        for callback in self._subscribers.get(resource, ()):
            callback(old, None)

    def subscribe(self, resource: Resource[Any], on_change: Callable[[Any, Any], None]) -> None:
        self._subscribers.setdefault(resource, []).append(on_change)
        for obj in self._objects.get(resource, {}).values():
            on_change(None, obj)

    def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        return self._objects.get(resource, {}).get((namespace, name))

    def list(self, resource: Resource[Any], namespace: str = "") -> Sequence[Any]:
        objects = self._objects.get(resource, {})
        return [o for (ns, _), o in objects.items() if not namespace or ns == namespace]

    async def get_live(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        self.live_reads.append((resource.name, namespace, name))
        found = self._stale.get((resource, namespace, name))
        return found if found is not None else self.get(resource, namespace, name)
