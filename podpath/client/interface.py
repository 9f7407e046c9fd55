"""How components talk to an API server, whichever door it is.

Implementations: `grpc.py` (podpath.apiserver.v1), `memory.py` (for tests). One contract suite,
`tests/contract/test_client.py`, runs on all. Every method raises `podpath.api.errors.ApiError`.
Objects returned are the caller's own; those inside watch events are shared: read-only.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol

from podpath.api.errors import ApiError
from podpath.api.scheme import ObjectT, Resource
from protos.k8s.core_v1_pb2 import Binding
from protos.k8s.meta_v1_pb2 import DeleteOptions


class EventType(Enum):
    """Types of watch events; an error ends the stream as an ApiError instead."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[ObjectT]):
    """A change, or for BOOKMARK an object that holds only metadata.resourceVersion (and the
    annotation `k8s.io/initial-events-end` when the initial events are over)."""

    type: EventType
    object: ObjectT


@dataclass(frozen=True, slots=True)
class ObjectList(Generic[ObjectT]):
    """A page of a list. `continue_token` is empty on the last page."""

    items: list[ObjectT]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource: everything, or a namespace, labels, fields."""

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""


EVERYTHING = Selection()


class Reader(Protocol):
    async def get(
        self, resource: Resource[ObjectT], namespace: str, name: str, *, resource_version: str = ""
    ) -> ObjectT:
        """The object. With resource_version "0" it may be older than the newest."""

    async def list(
        self,
        resource: Resource[ObjectT],
        selection: Selection = EVERYTHING,
        *,
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList[ObjectT]:
        """One page. Without resource_version it shows every acknowledged write."""

    def watch(
        self,
        resource: Resource[ObjectT],
        selection: Selection = EVERYTHING,
        *,
        resource_version: str = "",
        send_initial_events: bool = False,
    ) -> AsyncIterator[Sequence[WatchEvent[ObjectT]]]:
        """Events strictly after `resource_version`, in order, in batches; bookmarks included.

        Ends when the server ends it; raises Expired when the version is no longer held,
        ServiceUnavailable when the connection is lost.
        """


class Writer(Protocol):
    async def create(
        self,
        resource: Resource[ObjectT],
        obj: ObjectT,
        *,
        subresource: str = "",
        name: str = "",
        dry_run: bool = False,
    ) -> ObjectT:
        """Creates in `obj.metadata.namespace`; returns the stored object."""

    async def create_many(
        self, resource: Resource[ObjectT], objs: Sequence[ObjectT]
    ) -> Sequence[ObjectT | ApiError]:
        """One round trip; a result for each object, in order. Some may fail while others land."""

    async def update(
        self, resource: Resource[ObjectT], obj: ObjectT, *, subresource: str = ""
    ) -> ObjectT:
        """Replaces; Conflict unless metadata.resourceVersion is the stored one (or empty)."""

    async def update_status(self, resource: Resource[ObjectT], obj: ObjectT) -> ObjectT:
        """Replaces only the status."""

    async def update_status_many(
        self, resource: Resource[ObjectT], objs: Sequence[ObjectT]
    ) -> Sequence[ObjectT | ApiError]:
        """One round trip; a result for each object, in order."""

    async def patch(
        self,
        resource: Resource[ObjectT],
        namespace: str,
        name: str,
        patch: bytes,
        *,
        patch_type: str = "application/strategic-merge-patch+json",
        subresource: str = "",
    ) -> ObjectT:
        """Applies a JSON patch document of `patch_type`."""

    async def delete(
        self,
        resource: Resource[ObjectT],
        namespace: str,
        name: str,
        options: DeleteOptions | None = None,
    ) -> None:
        """Starts deletion; NotFound when there is no such object."""

    async def bind(self, binding: Binding) -> None:
        """Assigns the Pod `binding.metadata` to the node `binding.target.name`."""

    async def bind_many(self, bindings: Sequence[Binding]) -> Sequence[ApiError | None]:
        """One round trip; None for each binding that was stored, in order."""


class Client(Reader, Writer, Protocol):
    """All of it. Consumers ask for the narrowest part they use."""
