"""The verbs that both doors call: one set of functions, whoever asks.

The gRPC door (`apiserver/grpc_server.py`) and the HTTPS door (`apiserver/http_gateway/`) decode a
request into the records below, call a verb and encode what comes back. Verbs raise
`podpath.api.errors.ApiError` and nothing else. Authentication is the door's (it knows certificates
and headers); authorization happens inside the handler chain, before any verb body runs.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message

from podpath.api.errors import ApiError
from podpath.api.scheme import Resource
from protos.k8s.core_v1_pb2 import Binding
from protos.k8s.meta_v1_pb2 import DeleteOptions, Status


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who asks. Source: k8s.io/apiserver pkg/authentication/user."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. `name` is empty for collections and for create."""

    resource: Resource[Message]
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Selectors:
    """Raw selector texts, as the client sent them."""

    labels: str = ""
    fields: str = ""


@dataclass(frozen=True, slots=True)
class ListOptions:
    selectors: Selectors = Selectors()
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    selectors: Selectors = Selectors()
    resource_version: str = ""
    send_initial_events: bool = False
    resource_version_match: str = ""
    allow_bookmarks: bool = False
    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """`field_validation` warnings are the HTTPS door's: it decodes JSON. `traceparent` is the
    client's trace context as it sent it."""

    dry_run: bool = False
    field_manager: str = ""
    force: bool = False
    traceparent: str = ""


DEFAULT_WRITE = WriteOptions()


class Version(Protocol):
    """One version of one object, shared by all who read it; encodings are made once and kept."""

    @property
    def object(self) -> Message:
        """With metadata.resourceVersion set. Read-only."""

    @property
    def resource(self) -> Resource[Message]: ...

    @property
    def unknown_bytes(self) -> bytes:
        """A serialised runtime.Unknown, without the `k8s\\0` magic."""

    @property
    def json_bytes(self) -> bytes:
        """Kubernetes' JSON with kind and apiVersion, without a trailing newline."""


@dataclass(frozen=True, slots=True)
class Created:
    """The version that an update or patch answers with when the object was not there before."""

    version: Version

    @property
    def object(self) -> Message:
        return self.version.object

    @property
    def resource(self) -> Resource[Message]:
        return self.version.resource

    @property
    def unknown_bytes(self) -> bytes:
        return self.version.unknown_bytes

    @property
    def json_bytes(self) -> bytes:
        return self.version.json_bytes


@dataclass(frozen=True, slots=True)
class ListResult:
    items: Sequence[Version]
    resource_version: str
    continue_token: str = ""
    remaining_item_count: int | None = None


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK. For a BOOKMARK `version.object` holds only
    metadata.resourceVersion and, at the end of initial events, the annotation."""

    type: str
    version: Version


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One member of a batch: its target, object and options."""

    target: Target
    object: Message
    options: WriteOptions = DEFAULT_WRITE


class Verbs(Protocol):
    async def get(self, user: UserInfo, target: Target, resource_version: str = "") -> Version: ...

    async def list(self, user: UserInfo, target: Target, options: ListOptions) -> ListResult: ...

    def watch(
        self, user: UserInfo, target: Target, options: WatchOptions
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Errors before the first event and Expired later are raised as ApiError."""

    async def create(
        self, user: UserInfo, target: Target, obj: Message, options: WriteOptions = DEFAULT_WRITE
    ) -> Version:
        """Create, or POST to `target.subresource` (then `target.name` owns it)."""

    async def create_batch(
        self, user: UserInfo, items: Sequence[BatchItem]
    ) -> Sequence[Version | ApiError]: ...

    async def update(
        self, user: UserInfo, target: Target, obj: Message, options: WriteOptions = DEFAULT_WRITE
    ) -> Version:
        """`Created` when the object was not there and its kind may be made so."""

    async def update_batch(
        self, user: UserInfo, items: Sequence[BatchItem]
    ) -> Sequence[Version | ApiError]: ...

    async def patch(
        self,
        user: UserInfo,
        target: Target,
        patch_type: str,
        patch: Any,
        options: WriteOptions = DEFAULT_WRITE,
    ) -> Version:
        """`patch` is the decoded JSON (or YAML) document. `Created` when an apply made it."""

    async def delete(
        self, user: UserInfo, target: Target, delete_options: DeleteOptions, dry_run: bool = False
    ) -> Version | Status:
        """The object while it is still there (graceful deletion, finalizers), else a Status."""

    async def delete_collection(
        self,
        user: UserInfo,
        target: Target,
        delete_options: DeleteOptions,
        selectors: Selectors,
        dry_run: bool = False,
    ) -> ListResult: ...

    async def bind(
        self, user: UserInfo, binding: Binding, options: WriteOptions = DEFAULT_WRITE
    ) -> None: ...

    async def bind_batch(
        self, user: UserInfo, items: Sequence[tuple[Binding, WriteOptions]]
    ) -> Sequence[ApiError | None]: ...

    async def connect(self, user: UserInfo, target: Target, verb: str) -> Version:
        """Authorizes `verb` on a streaming subresource (log, exec, attach, portforward, proxy),
        runs CONNECT admission and returns the owner (the Pod, Node or Service)."""
