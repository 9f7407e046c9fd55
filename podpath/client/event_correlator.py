"""Which Event a happening becomes: a new one, a higher count of an old one, or none.

1. Too many of an object's events in a short time: dropped (spam filter).
2. More than ten similar ones with different texts: one text stands for all (aggregation).
3. The same text again: the count of the Event that is already stored grows.

Source: k8s.io/client-go tools/record/events_cache.go.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from protos.k8s.core_v1_pb2 import Event

CACHE_SIZE = 4096
AGGREGATE_AFTER = 10
AGGREGATE_WINDOW_S = 600.0
SPAM_BURST = 25
SPAM_REFILL_S = 300.0
AGGREGATE_PREFIX = "(combined from similar events): "

ValueT = TypeVar("ValueT")

_Key = tuple[str, ...]


class _Recent(Generic[ValueT]):
    """A dict that forgets what was used longest ago."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[_Key, ValueT] = OrderedDict()

    def get(self, key: _Key) -> ValueT | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def set(self, key: _Key, value: ValueT) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class _Similar:
    texts: set[str]
    at: float


@dataclass(frozen=True, slots=True)
class Correlated:
    """The Event to store; `update` when one of this name was handed out before."""

    event: Event
    update: bool


class Correlator:
    """Keeps what it needs of earlier events, within fixed bounds. No clock: it is told the time."""

    def __init__(self, cache_size: int = CACHE_SIZE) -> None:
        self._buckets: _Recent[_Bucket] = _Recent(cache_size)
        self._similar: _Recent[_Similar] = _Recent(cache_size)
        self._known: _Recent[Event] = _Recent(cache_size)

    def correlate(self, event: Event, monotonic_s: float) -> Correlated | None:
        """What to store for `event`, a complete new one, which is changed; None to drop it."""
        if not self._may_speak(event, monotonic_s):
            return None
        message, key = self._aggregate(event, monotonic_s)
        known = self._known.get(key)
        event.message = message
        if known is not None:
            # The stored Event goes on: its name and first time, one more count.
            event.metadata.CopyFrom(known.metadata)
            event.firstTimestamp.CopyFrom(known.firstTimestamp)
            event.count = known.count + 1
        self._known.set(key, event)
        return Correlated(event, update=known is not None)

    def _may_speak(self, event: Event, now: float) -> bool:
        key = _source_and_object(event)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(SPAM_BURST, now)
            self._buckets.set(key, bucket)
        bucket.tokens = min(SPAM_BURST, bucket.tokens + (now - bucket.at) / SPAM_REFILL_S)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _aggregate(self, event: Event, now: float) -> tuple[str, _Key]:
        """The text to show and the key under which equal events are counted together."""
        kind = (
            *_source_and_object(event),
            event.type,
            event.reason,
            event.reportingComponent,
            event.reportingInstance,
        )
        similar = self._similar.get(kind)
        if similar is None or now - similar.at > AGGREGATE_WINDOW_S:
            similar = _Similar(set(), now)
            self._similar.set(kind, similar)
        similar.texts.add(event.message)
        similar.at = now
        if len(similar.texts) < AGGREGATE_AFTER:
            return event.message, (*kind, event.message)
        # One text fewer, so that the window stays open without the set growing for ever.
        similar.texts.pop()
        return AGGREGATE_PREFIX + event.message, kind


def event_name(involved_name: str, now: datetime) -> str:
    """`NAME.HEX`, where HEX is the time in nanoseconds."""
    return f"{involved_name}.{int(now.timestamp()) * 10**9 + now.microsecond * 1000:x}"


def _source_and_object(event: Event) -> _Key:
    source, involved = event.source, event.involvedObject
    return (
        source.component,
        source.host,
        involved.kind,
        involved.namespace,
        involved.name,
        involved.uid,
        involved.apiVersion,
    )
