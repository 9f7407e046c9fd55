"""Tells users what happened to an object, as core/v1 Events, without ever holding anyone up.

`event()` only puts the Event into a bounded queue; `run()` sends what has gathered, new Events in
one call. Events are a courtesy: when the queue is full or the server refuses one, it is dropped
and counted.

Source: k8s.io/client-go tools/record/event.go.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
from google.protobuf.message import Message

from podpath.api.errors import ApiError
from podpath.api.scheme import EVENTS, ObjectT, Resource
from podpath.client.event_correlator import Correlator, event_name
from podpath.client.interface import Writer
from podpath.client.store import metadata_of
from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Event, ObjectReference

log = logging.getLogger(__name__)

NORMAL = "Normal"
WARNING = "Warning"

QUEUE_LIMIT = 1000
BATCH_LIMIT = 100
ATTEMPTS_MAX = 12
RETRY_S = 10.0
LINGER_S = 0.05
# Messages are cut like the API server would demand it.
MESSAGE_LIMIT = 1024

_RETRIED = ("ServiceUnavailable", "ServerTimeout", "Timeout", "TooManyRequests", "InternalError")


@dataclass(slots=True)
class _Pending:
    event: Event
    update: bool
    attempts: int = 0


def reference_to(
    resource: Resource[ObjectT], obj: Message, field_path: str = ""
) -> ObjectReference:
    """The reference by which an Event names its object."""
    meta = metadata_of(obj)
    return ObjectReference(
        kind=resource.kind,
        apiVersion=resource.api_version,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resourceVersion=meta.resourceVersion,
        fieldPath=field_path,
    )


class EventRecorder:
    """Records as `component` on `host`; nothing is sent unless `run()` runs."""

    def __init__(
        self,
        client: Writer,
        component: str,
        *,
        clock: Clock,
        host: str = "",
        linger_s: float = LINGER_S,
    ) -> None:
        """`linger_s`: how long the first Event waits for others to go with it."""
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._linger_s = linger_s
        self._correlator = Correlator()
        self._pending: OrderedDict[tuple[str, str], _Pending] = OrderedDict()
        self._wake = asyncio.Event()
        self._last_name_at = datetime.min.replace(tzinfo=clock.now().tzinfo)
        self.dropped = 0

    def event(
        self,
        resource: Resource[ObjectT],
        obj: ObjectT,
        event_type: str,
        reason: str,
        message: str,
        *,
        field_path: str = "",
        component: str = "",
    ) -> None:
        """Records that something happened to `obj`. `event_type` is NORMAL or WARNING, `reason` a
        word in CamelCase, `message` a sentence for people. `component`: who says so, where this is
        not the recorder's own name."""
        involved = reference_to(resource, obj, field_path)
        self.event_for(involved, event_type, reason, message, component=component)

    def event_for(
        self,
        involved: ObjectReference,
        event_type: str,
        reason: str,
        message: str,
        *,
        component: str = "",
    ) -> None:
        """The same for an object known only by reference."""
        event = self._new_event(involved, event_type, reason, message)
        if component:
            event.reportingComponent = event.source.component = component
        correlated = self._correlator.correlate(event, self._clock.monotonic())
        if correlated is None:
            self.dropped += 1
            return
        event = correlated.event
        key = (event.metadata.namespace, event.metadata.name)
        waiting = self._pending.get(key)
        if waiting is not None:
            waiting.event = event
        elif len(self._pending) >= QUEUE_LIMIT:
            self.dropped += 1
        else:
            self._pending[key] = _Pending(event, correlated.update)
            self._wake.set()

    async def run(self) -> None:
        """Sends Events as they come, until cancelled."""
        while True:
            if not self._pending:
                self._wake.clear()
                await self._wake.wait()
                # Nobody waits for an Event, but it takes the server's time from what it tells of.
                if self._linger_s:
                    await self._clock.sleep(self._linger_s)
            await self.flush()

    async def flush(self) -> None:
        """Sends one batch of what waits; waits itself when the server is unreachable."""
        batch = [self._pending.popitem(last=False) for _ in range(self._batch_size())]
        creates = [pending for _, pending in batch if not pending.update]
        updates = [pending for _, pending in batch if pending.update]
        failed = await self._create(creates) if creates else []
        for pending in updates:
            if await self._update(pending):
                failed.append(pending)
        if failed:
            self._requeue(failed)
            await self._clock.sleep(RETRY_S)

    def _batch_size(self) -> int:
        return min(len(self._pending), BATCH_LIMIT)

    def _new_event(
        self, involved: ObjectReference, event_type: str, reason: str, message: str
    ) -> Event:
        now = self._clock.now()
        # Two happenings within the clock's resolution still need two names.
        named_at = max(now, self._last_name_at + timedelta(microseconds=1))
        self._last_name_at = named_at
        event = Event(
            reason=reason,
            message=message[:MESSAGE_LIMIT],
            type=event_type,
            count=1,
            reportingComponent=self._component,
            reportingInstance=self._host,
        )
        event.involvedObject.CopyFrom(involved)
        event.source.component = self._component
        if self._host:
            event.source.host = self._host
        event.metadata.name = event_name(involved.name, named_at)
        event.metadata.namespace = involved.namespace or "default"
        event.firstTimestamp.seconds = event.lastTimestamp.seconds = int(now.timestamp())
        return event

    async def _create(self, pending: Sequence[_Pending]) -> list[_Pending]:
        """Sends new Events in one call; returns those to try again."""
        results: Sequence[Event | ApiError]
        try:
            if len(pending) == 1:
                results = [await self._client.create(EVENTS, pending[0].event)]
            else:
                results = await self._client.create_many(EVENTS, [p.event for p in pending])
        except ApiError as error:
            results = [error] * len(pending)
        return [
            one
            for one, result in zip(pending, results, strict=True)
            if isinstance(result, ApiError) and self._is_retried(one, result)
        ]

    async def _update(self, pending: _Pending) -> bool:
        """Raises the stored Event's count; True when it is to be tried again."""
        event = pending.event
        patch = {
            "count": event.count,
            "message": event.message,
            "lastTimestamp": _rfc3339(event.lastTimestamp.seconds),
        }
        meta = event.metadata
        try:
            await self._client.patch(EVENTS, meta.namespace, meta.name, orjson.dumps(patch))
        except ApiError as error:
            if error.reason != "NotFound":
                return self._is_retried(pending, error)
            # The stored one has expired: it begins anew.
            pending.update = False
            return bool(await self._create([pending]))
        return False

    def _is_retried(self, pending: _Pending, error: ApiError) -> bool:
        pending.attempts += 1
        if error.reason in _RETRIED and pending.attempts < ATTEMPTS_MAX:
            return True
        self.dropped += 1
        log.warning(
            "event refused",
            extra={"event": pending.event.metadata.name, "error": str(error)},
        )
        return False

    def _requeue(self, failed: Sequence[_Pending]) -> None:
        for pending in reversed(failed):
            key = (pending.event.metadata.namespace, pending.event.metadata.name)
            newer = self._pending.get(key)
            if newer is not None:
                # It grew while it failed: the newer state replaces it, the create is still due.
                newer.update, newer.attempts = pending.update, pending.attempts
            else:
                self._pending[key] = pending
            self._pending.move_to_end(key, last=False)


def _rfc3339(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, tz=UTC).isoformat()[:19]}Z"
