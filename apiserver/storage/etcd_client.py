"""A thin etcd v3 client on grpc.aio and the stubs generated from etcd's RPC contract.

It knows endpoints, TLS, time limits, retries of reads and what etcd's errors mean. What keys and
values are is `etcd.py`'s business; docs/adr/0001-resource-version.md and shared measurements say
why there is no library underneath: those on PyPI lose watch events, hang or lack TLS.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeVar

import grpc
import grpc.aio

from apiserver.storage.interface import StorageUnavailableError
from podpath.component_base.clock import Clock, SystemClock
from protos.etcd import etcdserverpb_pb2 as pb
from protos.etcd import etcdserverpb_pb2_grpc as rpc

RETRY_DELAY_S = 0.1

_RequestT = TypeVar("_RequestT")
_RequestT_contra = TypeVar("_RequestT_contra", contravariant=True)
_ResponseT = TypeVar("_ResponseT")
_ResponseT_co = TypeVar("_ResponseT_co", covariant=True)


class _Method(Protocol[_RequestT_contra, _ResponseT_co]):
    """A unary RPC of a stub."""

    def __call__(
        self, request: _RequestT_contra, /, *, timeout: float, wait_for_ready: bool
    ) -> Awaitable[_ResponseT_co]: ...


# After these nobody knows whether the request was carried out.
_UNKNOWN_OUTCOME = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DATA_LOSS,
    }
)

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Also the limit for one connection attempt: 100 ms gave spurious UNAVAILABLE under load.
    ("grpc.min_reconnect_backoff_ms", 3000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM texts. `certificate` and `key` are the client's own, for mutual TLS."""

    root: bytes
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """`endpoints` are `host:port`; more than one: the next is tried when one fails."""

    endpoints: tuple[str, ...]
    tls: TlsFiles | None = None
    request_timeout_s: float = 10.0


class EtcdError(StorageUnavailableError):
    """A failed call. `outcome_known`: etcd refused it, so it had no effect."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"etcd: {code.name}: {details}")
        self.code = code
        self.details = details

    @property
    def outcome_known(self) -> bool:
        return self.code not in _UNKNOWN_OUTCOME


def _translated(error: grpc.aio.AioRpcError, endpoint: str = "") -> EtcdError:
    details = error.details() or ""
    return EtcdError(error.code(), f"{details} ({endpoint})" if endpoint else details)


class WatchStream:
    """One watch on one stream of its own, so progress can be asked for it alone."""

    def __init__(
        self, call: "grpc.aio.StreamStreamCall[pb.WatchRequest, pb.WatchResponse]"
    ) -> None:
        self._call = call
        self._writing = asyncio.Lock()

    async def read(self) -> pb.WatchResponse:
        """The next response. Raises: EtcdError when the stream has ended."""
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from error
        if not isinstance(response, pb.WatchResponse):  # grpc.aio.EOF
            raise EtcdError(grpc.StatusCode.UNAVAILABLE, "the watch stream ended")
        return response

    async def request_progress(self) -> None:
        """Asks for a response without events; lost when the stream is."""
        await self._write(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def create(self, request: pb.WatchCreateRequest) -> None:
        """Starts the watch."""
        await self._write(pb.WatchRequest(create_request=request))

    async def _write(self, request: pb.WatchRequest) -> None:
        try:
            async with self._writing:
                await self._call.write(request)
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from error
        except asyncio.InvalidStateError as error:
            raise EtcdError(grpc.StatusCode.UNAVAILABLE, "the watch stream ended") from error

    def cancel(self) -> None:
        self._call.cancel()


class _Member:
    """One endpoint's channel and stubs."""

    def __init__(self, endpoint: str, tls: TlsFiles | None) -> None:
        self.endpoint = endpoint
        if tls is None:
            self.channel = grpc.aio.insecure_channel(endpoint, options=_CHANNEL_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(tls.root, tls.key, tls.certificate)
            self.channel = grpc.aio.secure_channel(endpoint, credentials, options=_CHANNEL_OPTIONS)
        self.kv = rpc.KVStub(self.channel)
        self.lease = rpc.LeaseStub(self.channel)
        self.watch = rpc.WatchStub(self.channel)
        self.maintenance = rpc.MaintenanceStub(self.channel)


class EtcdClient:
    """Calls to an etcd cluster. Use as an async context manager, inside the running loop.

    Reads are repeated until they succeed or `request_timeout_s` is over; writes are sent once.
    """

    def __init__(self, config: EtcdConfig, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._members: list[_Member] = []
        self._active = 0
        self.last_revision = 0
        """The newest revision that any answer has shown."""

    async def __aenter__(self) -> Self:
        self._members = [_Member(e, self._config.tls) for e in self._config.endpoints]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self._members:
            await member.channel.close(None)

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """Reads keys; linearizable unless the request says otherwise. Raises: EtcdError."""
        response = await self._read(lambda m: m.kv.Range, request)
        self._saw(response.header)
        return response

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """One transaction, sent once. Raises: EtcdError (see `outcome_known`)."""
        response = await self._once(lambda m: m.kv.Txn, request)
        self._saw(response.header)
        return response

    async def compact(self, revision: int) -> None:
        """Forgets everything before `revision` but the newest of each key."""
        request = pb.CompactionRequest(revision=revision)
        await self._once(lambda m: m.kv.Compact, request)

    async def grant_lease(self, ttl_s: int) -> int:
        """A new lease's id; etcd deletes what is attached to it when `ttl_s` is over."""
        request = pb.LeaseGrantRequest(TTL=ttl_s)
        granted = await self._read(lambda m: m.lease.LeaseGrant, request)
        return granted.ID

    async def keep_alive(self, lease_id: int) -> int:
        """Renews a lease once; answers the seconds it now has left, 0 when it is gone."""
        member = self._member()
        call = member.lease.LeaseKeepAlive(None, timeout=self._config.request_timeout_s)
        try:
            await call.write(pb.LeaseKeepAliveRequest(ID=lease_id))
            response = await call.read()
        except grpc.aio.AioRpcError as error:
            self._fail_over(member)
            raise _translated(error, member.endpoint) from error
        finally:
            call.cancel()
        return response.TTL if isinstance(response, pb.LeaseKeepAliveResponse) else 0

    async def revoke_lease(self, lease_id: int) -> None:
        """Ends a lease and deletes its keys now."""
        request = pb.LeaseRevokeRequest(ID=lease_id)
        await self._once(lambda m: m.lease.LeaseRevoke, request)

    async def status(self) -> pb.StatusResponse:
        """The member's version, size and leader."""
        request = pb.StatusRequest()
        return await self._read(lambda m: m.maintenance.Status, request)

    async def open_watch(self, request: pb.WatchCreateRequest) -> WatchStream:
        """Starts a watch at the active member. Raises: EtcdError. `WatchStream.cancel` ends it."""
        member = self._member()
        # `hasleader`: a member that lost its cluster must end the stream, not keep it silent.
        call = member.watch.Watch(
            None, metadata=(("hasleader", "true"),), wait_for_ready=self._waits_for_ready
        )
        stream = WatchStream(call)
        try:
            await stream.create(request)
        except BaseException:
            stream.cancel()
            self._fail_over(member)
            raise
        return stream

    def watch_failed(self) -> None:
        """A watch stream broke: the next one goes to the next member."""
        self._fail_over(self._member())

    @property
    def _waits_for_ready(self) -> bool:
        """With a single endpoint waiting for its return is all one can do."""
        return len(self._members) == 1

    def _member(self) -> _Member:
        return self._members[self._active]

    def _fail_over(self, failed: _Member) -> None:
        if failed is self._member():
            self._active = (self._active + 1) % len(self._members)

    def _saw(self, header: pb.ResponseHeader) -> None:
        self.last_revision = max(self.last_revision, header.revision)

    async def _once(
        self, method: "Callable[[_Member], _Method[_RequestT, _ResponseT]]", request: _RequestT
    ) -> _ResponseT:
        member = self._member()
        try:
            return await method(member)(
                request,
                timeout=self._config.request_timeout_s,
                wait_for_ready=self._waits_for_ready,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() in _UNKNOWN_OUTCOME:
                self._fail_over(member)
            raise _translated(error, member.endpoint) from error

    async def _read(
        self, method: "Callable[[_Member], _Method[_RequestT, _ResponseT]]", request: _RequestT
    ) -> _ResponseT:
        deadline = self._clock.monotonic() + self._config.request_timeout_s
        while True:
            try:
                return await self._once(method, request)
            except EtcdError as error:
                if error.outcome_known or self._clock.monotonic() >= deadline:
                    raise
            await self._clock.sleep(RETRY_DELAY_S)
