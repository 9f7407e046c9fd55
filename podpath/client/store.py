"""Objects of one kind by key and by index, as an informer keeps them.

Source: k8s.io/client-go tools/cache (thread_safe_store.go, index.go).
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, NamedTuple, cast

from google.protobuf.message import Message

from podpath.api.scheme import ObjectT
from protos.k8s.meta_v1_pb2 import ObjectMeta, OwnerReference

IndexFunction = Callable[[Any], Iterable[Hashable]]


class ObjectKey(NamedTuple):
    """Namespace (empty for cluster-scoped kinds) and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def metadata_of(obj: Message) -> ObjectMeta:
    """The metadata that every Kubernetes object has."""
    return cast("ObjectMeta", obj.metadata)  # type: ignore[attr-defined]


def key_of(obj: Message) -> ObjectKey:
    meta = metadata_of(obj)
    return ObjectKey(meta.namespace, meta.name)


def controller_of(meta: ObjectMeta) -> OwnerReference | None:
    """The owner reference that is the managing controller."""
    for reference in meta.ownerReferences:
        if reference.controller:
            return reference
    return None


def by_controller_uid(obj: Message) -> Iterable[Hashable]:
    """Index function: the uid of the managing controller; nothing for orphans."""
    reference = controller_of(metadata_of(obj))
    return (reference.uid,) if reference is not None else ()


def by_owner_uid(obj: Message) -> Iterable[Hashable]:
    """Index function: the uids of all owners."""
    return [reference.uid for reference in metadata_of(obj).ownerReferences]


class Store(Generic[ObjectT]):
    """Objects by key and by index. Reads are cheap; what they return is shared and read-only."""

    def __init__(self) -> None:
        self.generation = 0
        """Grows with every change: whoever computed something sees whether it still holds."""
        self._objects: dict[ObjectKey, ObjectT] = {}
        self._namespaces: dict[str, dict[ObjectKey, ObjectT]] = {}
        self._functions: dict[str, IndexFunction] = {}
        self._indices: dict[str, dict[Hashable, dict[ObjectKey, ObjectT]]] = {}
        self._values: dict[str, dict[ObjectKey, tuple[Hashable, ...]]] = {}

    def get(self, namespace: str, name: str) -> ObjectT | None:
        return self._objects.get(ObjectKey(namespace, name))

    def by_index(self, index: str, value: Hashable) -> list[ObjectT]:
        """What the index function gives `value` for. Raises: KeyError for an unknown index."""
        return list(self._indices[index].get(value, {}).values())

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def add_index(self, index: str, function: IndexFunction) -> None:
        """Adds an index over what is there and what comes. Adding the same again is harmless."""
        if self._functions.get(index) is function:
            return
        if index in self._functions:
            raise ValueError(f"index {index!r} exists with another function")
        self._functions[index] = function
        self._indices[index] = {}
        self._values[index] = {}
        for key, obj in self._objects.items():
            self._index(index, key, obj)

    def put(self, key: ObjectKey, obj: ObjectT) -> ObjectT | None:
        """Stores; returns what was there. For the informer and for tests."""
        old = self._objects.get(key)
        self.generation += 1
        self._objects[key] = obj
        self._namespaces.setdefault(key.namespace, {})[key] = obj
        for index in self._functions:
            self._unindex(index, key)
            self._index(index, key, obj)
        return old

    def remove(self, key: ObjectKey) -> ObjectT | None:
        """Removes; returns what was there. For the informer and for tests."""
        old = self._objects.pop(key, None)
        if old is None:
            return None
        self.generation += 1
        siblings = self._namespaces[key.namespace]
        del siblings[key]
        if not siblings:
            del self._namespaces[key.namespace]
        for index in self._functions:
            self._unindex(index, key)
        return old

    def keys(self) -> Iterable[ObjectKey]:
        return self._objects.keys()

    def _index(self, index: str, key: ObjectKey, obj: ObjectT) -> None:
        values = tuple(self._functions[index](obj))
        if not values:
            return
        self._values[index][key] = values
        members = self._indices[index]
        for value in values:
            members.setdefault(value, {})[key] = obj

    def _unindex(self, index: str, key: ObjectKey) -> None:
        members = self._indices[index]
        for value in self._values[index].pop(key, ()):
            holders = members.get(value)
            if holders is not None:
                holders.pop(key, None)
                if not holders:
                    del members[value]

    def list(self, namespace: str = "") -> list[ObjectT]:
        """Everything, or everything in one namespace."""
        if not namespace:
            return list(self._objects.values())
        return list(self._namespaces.get(namespace, {}).values())
