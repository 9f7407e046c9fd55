"""Versions, envelopes, keys, and etcd's watch responses read as changes."""

import pytest

from apiserver.storage import envelope
from apiserver.storage.etcd import progress_is_safe
from apiserver.storage.etcd_events import EventReader
from apiserver.storage.interface import CompactedError, Value
from apiserver.storage.keys import prefix_end, successor
from apiserver.storage.leases import reuse_window_s
from apiserver.storage.resource_version import (
    compose,
    deletion_index,
    index_of,
    revision_of,
    watch_from,
    whole,
)
from protos.etcd import etcdserverpb_pb2 as pb
from protos.etcd.mvccpb_pb2 import Event
from protos.k8s.runtime_pb2 import Unknown

POD = Value("v1", "Pod", b"raw")


def test_versions_order_as_writes_do() -> None:
    ordered = [whole(4), compose(5, 0), compose(5, 1), compose(5, 126), whole(5), compose(6, 0)]
    assert ordered == sorted(set(ordered))
    assert (revision_of(compose(5, 3)), index_of(compose(5, 3))) == (5, 3)
    assert whole(2**55).bit_length() <= 63


@pytest.mark.parametrize(
    ("version", "first"), [(0, 1), (compose(5, 0), 5), (compose(5, 126), 5), (whole(5), 6)]
)
def test_where_a_resumed_watch_starts(version: int, first: int) -> None:
    assert watch_from(version) == first


def test_index_of_many_deletions() -> None:
    assert [deletion_index(n) for n in (0, 1, 126, 127, 1000)] == [0, 1, 126, 126, 126]


def test_index_0_is_byte_for_byte_upstreams() -> None:
    unknown = Unknown(raw=b"raw", contentEncoding="", contentType="")
    unknown.typeMeta.apiVersion, unknown.typeMeta.kind = "v1", "Pod"
    assert envelope.encode(POD, 0) == b"k8s\0" + unknown.SerializeToString()


@pytest.mark.parametrize("index", [0, 1, 126])
def test_envelope_round_trip(index: int) -> None:
    data = envelope.encode(POD, index)
    assert envelope.decode(data) == (POD, index)
    assert Unknown.FromString(data[4:]).raw == b"raw"


def test_json_stays_plain() -> None:
    raw = b'{"apiVersion":"stable.example/v1","kind":"Crane"}'
    crane = Value("stable.example/v1", "Crane", raw, "application/json")
    assert envelope.encode(crane, 0) == raw
    assert envelope.decode(raw) == (crane, 0)
    assert not envelope.can_hold_index(crane)
    with pytest.raises(ValueError, match="JSON"):
        envelope.encode(crane, 1)


@pytest.mark.parametrize("data", [b"", b"k8s\0\xff\xff", b"[1]", b"{}", b"\x00"])
def test_what_cannot_be_decoded(data: bytes) -> None:
    with pytest.raises(envelope.UndecodableValueError):
        envelope.decode(data)
    assert envelope.decode_or_raw(data) == (Value("", "", data), 0)


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"/a/", b"/a0"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")]
)
def test_prefix_end(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


def test_successor() -> None:
    assert "a" < successor("a") < "a0"


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("3.4.23", False),
        ("3.4.31", True),
        ("3.5.0", False),
        ("3.5.12", False),
        ("3.5.13", True),
        ("3.5.16", True),
        ("3.6.0-rc.1", True),
    ],
)
def test_where_progress_requests_are_safe(version: str, safe: bool) -> None:
    assert progress_is_safe(version) is safe


@pytest.mark.parametrize(("ttl_s", "window"), [(3600, 60.0), (600, 30.0), (1, 1.0)])
def test_lease_reuse_window(ttl_s: int, window: float) -> None:
    assert reuse_window_s(ttl_s) == window


def response(*events: Event, fragment: bool = False, revision: int = 0) -> pb.WatchResponse:
    answer = pb.WatchResponse(events=events, fragment=fragment)
    answer.header.revision = revision
    return answer


def put(key: str, revision: int, index: int = 0) -> Event:
    event = Event(type=Event.PUT)
    event.kv.key, event.kv.mod_revision = key.encode(), revision
    event.kv.value = envelope.encode(POD, index)
    return event


def gone(key: str, revision: int) -> Event:
    event = Event(type=Event.DELETE)
    event.kv.key, event.kv.mod_revision = key.encode(), revision
    return event


def test_a_resumed_stream_drops_what_was_seen() -> None:
    reader = EventReader(compose(5, 1))
    step = reader.read(response(gone("a", 5), put("b", 5, 1), put("c", 5, 2), put("d", 6)))
    assert step is not None
    assert [(c.key, c.version) for c in step.changes] == [
        ("c", compose(5, 2)),
        ("d", compose(6, 0)),
    ]
    assert step.version == whole(6)


def test_a_fragment_may_end_within_a_revision() -> None:
    reader = EventReader(whole(4))
    first = reader.read(response(gone("a", 5), gone("b", 5), fragment=True))
    second = reader.read(response(gone("c", 5)))
    assert first is not None
    assert second is not None
    assert first.version == compose(5, 1)
    assert [c.version for c in second.changes] == [compose(5, 2)]
    assert second.version == whole(5)


def test_progress_and_what_says_nothing() -> None:
    reader = EventReader(whole(4))
    assert reader.read(pb.WatchResponse(created=True)) is None
    assert reader.read(response(revision=4)) is None
    step = reader.read(response(revision=9))
    assert step is not None
    assert (step.changes, step.version) == ([], whole(9))


def test_a_compacted_watch() -> None:
    with pytest.raises(CompactedError) as error:
        EventReader(5).read(pb.WatchResponse(canceled=True, compact_revision=12))
    assert error.value.oldest == compose(12, 0)
