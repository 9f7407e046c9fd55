"""What the scheduler reads of the cluster besides Pods and nodes.

Source: the informers that pkg/scheduler's plugins register.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from podpath.api import scheme
from podpath.api.scheme import ObjectT, Resource
from podpath.client.informer import InformerFactory
from podpath.client.store import Store, key_of

RESOURCES: tuple[Resource[Any], ...] = (
    scheme.NAMESPACES,
    scheme.SERVICES,
    scheme.REPLICATIONCONTROLLERS,
    scheme.REPLICASETS,
    scheme.STATEFULSETS,
    scheme.PODDISRUPTIONBUDGETS,
    scheme.PERSISTENTVOLUMECLAIMS,
    scheme.PERSISTENTVOLUMES,
    scheme.STORAGECLASSES,
    scheme.CSINODES,
    scheme.CSIDRIVERS,
    scheme.CSISTORAGECAPACITIES,
    scheme.VOLUMEATTACHMENTS,
)


class Listers(Protocol):
    """Reads of local copies; what they return is shared: read-only."""

    def get(self, resource: Resource[ObjectT], namespace: str, name: str) -> ObjectT | None:
        """One object, None when there is none of that name."""

    def list(self, resource: Resource[ObjectT], namespace: str = "") -> Sequence[ObjectT]:
        """All objects, or those of one namespace."""

    def generation(self, resources: Iterable[Resource[Any]]) -> int:
        """Grows with every change of any of these resources."""


class StoreListers:
    """Over the stores of informers, or stores that a test filled."""

    def __init__(self, stores: Mapping[Resource[Any], Store[Any]]) -> None:
        self._stores = stores

    @classmethod
    def of(cls, informers: InformerFactory) -> "StoreListers":
        return cls({resource: informers.informer(resource).store for resource in RESOURCES})

    @classmethod
    def holding(cls, objects: Iterable[tuple[Resource[Any], Any]] = ()) -> "StoreListers":
        """For tests and what-if questions."""
        stores: dict[Resource[Any], Store[Any]] = {resource: Store() for resource in RESOURCES}
        listers = cls(stores)
        for resource, obj in objects:
            listers.put(resource, obj)
        return listers

    def put(self, resource: Resource[ObjectT], obj: ObjectT) -> None:
        """For tests."""
        self._stores[resource].put(key_of(obj), obj)

    def get(self, resource: Resource[ObjectT], namespace: str, name: str) -> ObjectT | None:
        return self._stores[resource].get(namespace, name)

    def list(self, resource: Resource[ObjectT], namespace: str = "") -> Sequence[ObjectT]:
        return self._stores[resource].list(namespace)

    def generation(self, resources: Iterable[Resource[Any]]) -> int:
        return sum([self._stores[resource].generation for resource in resources])
