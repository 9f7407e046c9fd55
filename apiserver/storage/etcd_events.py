"""etcd's watch responses, read as changes with podpath's versions. Pure, but for its counters."""

from collections.abc import Iterable

import grpc

from apiserver.storage import envelope
from apiserver.storage.etcd_client import EtcdError
from apiserver.storage.interface import Change, Changes, CompactedError, Value
from apiserver.storage.resource_version import compose, deletion_index, whole
from protos.etcd import etcdserverpb_pb2 as pb
from protos.etcd.mvccpb_pb2 import Event


class EventReader:
    """Reads one stream, from its first response on.

    The stream starts at the beginning of a revision, so whatever is not after `since` is dropped;
    deletions are counted from there too: their ordinal is their index.
    """

    def __init__(self, since: int) -> None:
        self._since = since
        self._revision = 0
        self._deletions = 0

    def read(self, response: pb.WatchResponse) -> Changes | None:
        """None when the response says nothing new. Raises: CompactedError, EtcdError."""
        if response.canceled:
            if response.compact_revision:
                raise CompactedError(compose(response.compact_revision, 0))
            raise EtcdError(grpc.StatusCode.UNAVAILABLE, f"cancelled: {response.cancel_reason}")
        if response.created:
            return None
        if not response.events:  # all events up to this revision were sent before
            return self._step([], whole(response.header.revision))
        changes = list(self._changes(response.events))
        # A response, or its last fragment, ends with a whole revision.
        last = changes[-1].version if changes else self._since
        return self._step(changes, last if response.fragment else whole(self._revision))

    def _step(self, changes: list[Change], version: int) -> Changes | None:
        if version <= self._since:
            return None
        self._since = version
        return Changes(changes, version)

    def _changes(self, events: Iterable[Event]) -> Iterable[Change]:
        for event in events:
            version, value = self._identify(event)
            if version > self._since:
                yield Change(
                    event.kv.key.decode(),
                    version,
                    value,
                    _value(event.prev_kv.value) if event.HasField("prev_kv") else None,
                    event.kv.create_revision == event.kv.mod_revision,
                )

    def _identify(self, event: Event) -> tuple[int, Value | None]:
        revision = event.kv.mod_revision
        if revision != self._revision:
            self._revision = revision
            self._deletions = 0
        if event.type == Event.DELETE:
            index = deletion_index(self._deletions)
            self._deletions += 1
            return compose(revision, index), None
        value, index = envelope.decode_or_raw(event.kv.value)
        return compose(revision, index), value


def _value(data: bytes) -> Value:
    return envelope.decode_or_raw(data)[0]
