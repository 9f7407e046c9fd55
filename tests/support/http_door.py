"""The HTTPS door without TLS and without a network: a socket pair, and verbs over a dict."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from google.protobuf.message import Message

from apiserver.authorization.interface import Attributes, Decision
from apiserver.http_gateway import connection
from apiserver.http_gateway.context import Check, Context
from apiserver.http_gateway.gateway import Gateway
from apiserver.http_gateway.kubelet_proxy import KubeletProxy
from apiserver.http_gateway.system_paths import SystemPaths
from apiserver.storage.version import ObjectVersion
from apiserver.verbs.interface import (
    DEFAULT_WRITE,
    ListOptions,
    ListResult,
    Selectors,
    Target,
    UserInfo,
    WatchEvent,
    WatchOptions,
    WriteOptions,
)
from podpath.api import errors, scheme
from podpath.component_base.clock import FakeClock
from protos.k8s.core_v1_pb2 import Binding
from protos.k8s.meta_v1_pb2 import DeleteOptions, Status

TOKEN = "good"


class FakeVerbs:
    """Keeps objects by target, records calls, and raises what it is told to."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], ObjectVersion] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.events: list[Sequence[WatchEvent] | Exception] = []
        self.watch_closed = asyncio.Event()
        self._error: Exception | None = None

    def inject_error(self, error: Exception) -> None:
        """The next call raises it."""
        self._error = error

    def put(self, resource: Any, obj: Message) -> ObjectVersion:
        version = ObjectVersion(resource, obj)
        metadata = obj.metadata  # type: ignore[attr-defined]
        self.objects[resource.name, metadata.namespace, metadata.name] = version
        return version

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _find(self, target: Target) -> ObjectVersion:
        key = (target.resource.name, target.namespace, target.name)
        if key not in self.objects:
            raise errors.not_found(target.resource.group, target.resource.name, target.name)
        return self.objects[key]

    async def get(
        self, user: UserInfo, target: Target, resource_version: str = ""
    ) -> ObjectVersion:
        self._note("get", target)
        return self._find(target)

    async def list(self, user: UserInfo, target: Target, options: ListOptions) -> ListResult:
        self._note("list", target, options)
        found = [
            version
            for (name, namespace, _), version in sorted(self.objects.items())
            if name == target.resource.name and target.namespace in ("", namespace)
        ]
        return ListResult(found, "100")

    async def watch(
        self, user: UserInfo, target: Target, options: WatchOptions
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        self._note("watch", target, options)
        try:
            for batch in self.events:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
            if options.timeout_s > 60:
                await asyncio.Event().wait()
        finally:
            self.watch_closed.set()

    async def create(
        self, user: UserInfo, target: Target, obj: Message, options: WriteOptions = DEFAULT_WRITE
    ) -> ObjectVersion:
        self._note("create", target, obj, options)
        return ObjectVersion(target.resource, obj)

    async def update(
        self, user: UserInfo, target: Target, obj: Message, options: WriteOptions = DEFAULT_WRITE
    ) -> ObjectVersion:
        self._note("update", target, obj, options)
        return ObjectVersion(target.resource, obj)

    async def patch(
        self,
        user: UserInfo,
        target: Target,
        patch_type: str,
        patch: Any,
        options: WriteOptions = DEFAULT_WRITE,
    ) -> ObjectVersion:
        self._note("patch", target, patch_type, patch, options)
        return self._find(target)

    async def delete(
        self, user: UserInfo, target: Target, delete_options: DeleteOptions, dry_run: bool = False
    ) -> ObjectVersion | Status:
        self._note("delete", target, delete_options, dry_run)
        self._find(target)
        return Status(status="Success")

    async def delete_collection(
        self,
        user: UserInfo,
        target: Target,
        delete_options: DeleteOptions,
        selectors: Selectors,
        dry_run: bool = False,
    ) -> ListResult:
        self._note("deletecollection", target, delete_options, selectors, dry_run)
        return ListResult([], "100")

    async def bind(
        self, user: UserInfo, binding: Binding, options: WriteOptions = DEFAULT_WRITE
    ) -> None:
        self._note("bind", binding)

    async def connect(self, user: UserInfo, target: Target, verb: str) -> ObjectVersion:
        self._note("connect", target, verb)
        return self._find(target)


class FakeAuthenticator:
    def authenticate(self, peer_cert_der: bytes | None, authorization: str | None) -> UserInfo:
        if authorization == f"Bearer {TOKEN}":
            return UserInfo("jane", groups=("dev", "system:authenticated"))
        if authorization:
            raise errors.unauthorized()
        return UserInfo("system:anonymous", groups=("system:unauthenticated",))


class FakeAuthorizer:
    """Anonymous users may look at health only."""

    def authorize(self, attributes: Attributes) -> Decision:
        return Decision(attributes.user.name == "jane" or attributes.path.startswith("/healthz"))


@dataclass
class Answer:
    """A response. Header names are lower case; repeated ones are listed in `all_headers`."""

    status: int
    all_headers: list[tuple[str, str]]
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self.all_headers)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.all_headers if key == name]


@dataclass
class Door:
    """A client's connection to the door, and what stands behind it."""

    verbs: FakeVerbs
    clock: FakeClock
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ready: dict[str, bool] = field(default_factory=dict)

    async def send(self, method: str, path: str, body: bytes | Any = b"", **headers: str) -> None:
        """Header names are given with underscores: `content_type="application/json"`."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        given = {"Host": "x", "Authorization": f"Bearer {TOKEN}"}
        given |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        if data or method in ("POST", "PUT", "PATCH"):
            given.setdefault("Content-Length", str(len(data)))
        lines = [f"{method} {path} HTTP/1.1"]
        lines += (f"{name}: {value}" for name, value in given.items() if value)
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        await self.writer.drain()

    async def head(self) -> Answer:
        """Status and headers of the next response."""
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = raw.strip().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        return Answer(int(first.split()[1]), [(k.lower(), v) for k, v in pairs], b"")

    async def chunk(self) -> bytes:
        """The next chunk; empty at the end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def request(
        self, method: str, path: str, body: bytes | Any = b"", **headers: str
    ) -> Answer:
        await self.send(method, path, body, **headers)
        answer = await self.head()
        if answer.headers.get("transfer-encoding") == "chunked":
            while part := await self.chunk():
                answer.body += part
        elif method != "HEAD":
            length = int(answer.headers.get("content-length", "0"))
            answer.body = await self.reader.readexactly(length)
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, **headers)


@asynccontextmanager
async def open_door(kubelets: KubeletProxy | None = None) -> AsyncIterator[Door]:
    verbs, clock = FakeVerbs(), FakeClock()
    ready: dict[str, bool] = {"cache": True}
    context = Context(
        verbs=verbs,  # type: ignore[arg-type]
        authenticator=FakeAuthenticator(),
        authorizer=FakeAuthorizer(),
        resources=tuple(scheme.resources()),
        clock=clock,
        ready_checks=(Check("cache", lambda: ready["cache"]),),
    )
    gateway = Gateway(context, SystemPaths(context, "127.0.0.1:6443"), kubelets)
    server = connection.Server(gateway.handle)
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(server, ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield Door(verbs, clock, reader, writer, ready)
    finally:
        writer.close()
        await writer.wait_closed()
        await server.shutdown(0.1)
