"""Which writes go together, what is sent, and what an answer means."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.storage import envelope
from apiserver.storage.group_commit import (
    LINGER_S,
    MAX_PARALLEL,
    MAX_REQUEST_BYTES,
    linger_s,
    may_send,
    plan,
)
from apiserver.storage.interface import Stored, Value
from apiserver.storage.resolve import judge
from apiserver.storage.resource_version import MAX_GROUP, compose
from apiserver.storage.write import Committed, Refused, Write, build_txn, read_outcomes
from protos.etcd import etcdserverpb_pb2 as pb
from protos.etcd.mvccpb_pb2 import Event, KeyValue

JSON = Value("stable.example/v1", "Crane", b"{}", envelope.JSON_CONTENT_TYPE)


def write(key: str, value: Value | None = None, *, size: int = 0, expected: int = 7) -> Write:
    value = value or Value("v1", "Pod", b"x" * size)
    return _write(key, value, expected)


def deletion(key: str, expected: int = 7) -> Write:
    return _write(key, None, expected)


def _write(key: str, value: Value | None, expected: int) -> Write:
    done: asyncio.Future[int] = asyncio.Future(loop=_LOOP)
    return Write(key, value, expected, expected, 0, 0.0, done)


_LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def _close_loop():
    yield
    _LOOP.close()


def keys(groups: list[list[Write]]) -> list[list[str]]:
    return [[w.key for w in group] for group in groups]


@pytest.mark.parametrize(
    ("pending", "groups", "rest"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([write("a")], [["a"]], [], id="one alone"),
        pytest.param([write("a"), write("b")], [["a", "b"]], [], id="together"),
        pytest.param(
            [write("a"), write("a"), write("b")], [["a", "b"]], ["a"], id="same key waits"
        ),
        pytest.param([write("a"), deletion("b")], [["b", "a"]], [], id="deletion first"),
        pytest.param(
            [deletion("a"), write("b"), deletion("c")],
            [["a", "b"], ["c"]],
            [],
            id="second deletion",
        ),
        pytest.param([write("a"), write("b", JSON)], [["a"], ["b"]], [], id="JSON goes alone"),
        pytest.param([write("b", JSON)], [["b"]], [], id="only JSON"),
        pytest.param(
            [write("a", size=MAX_REQUEST_BYTES - 300), write("b", size=200)],
            [["a"]],
            ["b"],
            id="too large together",
        ),
    ],
)
def test_plan(pending: list[Write], groups: list[list[str]], rest: list[str]) -> None:
    planned, waiting = plan(pending)
    assert keys(planned) == groups
    assert [w.key for w in waiting] == rest


def test_keys_of_a_round_under_way_wait() -> None:
    planned, waiting = plan([write("a"), write("b"), deletion("c")], busy={"a", "c"})
    assert keys(planned) == [["b"]]
    assert [w.key for w in waiting] == ["a", "c"]


@pytest.mark.parametrize(
    ("under_way", "expected"),
    [
        pytest.param((), True, id="idle"),
        pytest.param((1,), True, id="beside a small round"),
        pytest.param((16,), False, id="a backlog gathers"),
        pytest.param((1, 1), False, id="two are enough"),
    ],
)
def test_when_a_round_may_go(under_way: tuple[int, ...], expected: bool) -> None:
    assert may_send(under_way) is expected


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(["put", "delete", "json", "large"])),
        max_size=400,
    )
)
def test_plan_always(pending_facts: list[tuple[int, str]]) -> None:
    makers = {
        "put": write,
        "delete": deletion,
        "json": lambda key: write(key, JSON),
        "large": lambda key: write(key, size=100_000),
    }
    left = [makers[kind](f"k{n}") for n, kind in pending_facts]
    everything, sent = list(left), []
    while left:
        before = [w.key for w in left]
        groups, left = plan(left)
        assert groups, "no progress"
        flat = [w for group in groups for w in group]
        assert len({w.key for w in flat}) == len(flat)
        assert len(groups) <= MAX_PARALLEL
        for group in groups:
            assert 1 <= len(group) <= MAX_GROUP
            assert len(group) == 1 or sum(w.size for w in group) <= MAX_REQUEST_BYTES
            assert all(w.value is not None for w in group[1:])
            assert len(group) == 1 or not any(w.value is JSON for w in group)
            assert build_txn(group).ByteSize() <= MAX_REQUEST_BYTES
        assert sorted(before) == sorted([w.key for w in flat] + [w.key for w in left])
        sent += flat
    for key in {w.key for w in everything}:  # writes of one key keep their order
        assert [w for w in sent if w.key == key] == [w for w in everything if w.key == key]


@pytest.mark.parametrize(
    ("previous", "pending", "expected"),
    [(0, 1, 0.0), (1, 1, 0.0), (15, 1, 0.0), (64, 1, LINGER_S), (64, 31, LINGER_S), (64, 32, 0.0)],
)
def test_linger_only_under_backlog(previous: int, pending: int, expected: float) -> None:
    assert linger_s(previous, pending) == expected


def test_a_lone_write_is_what_upstream_sends() -> None:
    txn = build_txn([write("/registry/pods/a/b", Value("v1", "Pod", b"raw"), expected=0)])
    (compare,) = txn.compare
    assert (compare.target, compare.mod_revision) == (pb.Compare.MOD, 0)
    assert txn.success[0].request_put.value == envelope.encode(Value("v1", "Pod", b"raw"), 0)
    assert txn.failure[0].request_range.key == b"/registry/pods/a/b"


def test_outcomes_of_a_group() -> None:
    group = [deletion("a"), write("b"), write("c")]
    txn = build_txn(group)
    assert [op.request_txn.success[0].WhichOneof("request") for op in txn.success] == [
        "request_delete_range",
        "request_put",
        "request_put",
    ]
    response = pb.TxnResponse(succeeded=True)
    response.header.revision = 42
    for succeeded in (True, False, True):
        response.responses.add().response_txn.succeeded = succeeded
    current = response.responses[1].response_txn.responses.add().response_range.kvs.add()
    current.key, current.mod_revision = b"b", 40
    current.value = envelope.encode(Value("v1", "Pod", b"theirs"), 5)
    assert read_outcomes(group, response) == [
        Committed(compose(42, 0)),
        Refused(Stored("b", Value("v1", "Pod", b"theirs"), compose(40, 5))),
        Committed(compose(42, 2)),
    ]


MINE = Value("v1", "Pod", b"mine")
THEIRS = Value("v1", "Pod", b"theirs")


def put(value: Value, revision: int, *, created: bool = False, index: int = 0) -> Event:
    kv = KeyValue(key=b"k", mod_revision=revision, value=envelope.encode(value, index))
    kv.create_revision = revision if created else 1
    return Event(type=Event.PUT, kv=kv)


def gone(revision: int) -> Event:
    return Event(type=Event.DELETE, kv=KeyValue(key=b"k", mod_revision=revision))


NOW = Refused(Stored("k", THEIRS, compose(20, 0)))


@pytest.mark.parametrize(
    ("event", "attempt", "refused", "outcome"),
    [
        pytest.param(
            put(MINE, 9, index=3), write("k", MINE), NOW, Committed(compose(9, 3)), id="update won"
        ),
        pytest.param(put(THEIRS, 9), write("k", MINE), NOW, NOW, id="update lost"),
        pytest.param(gone(9), write("k", MINE), NOW, NOW, id="deleted before update"),
        pytest.param(gone(9), deletion("k"), NOW, Committed(compose(9, 0)), id="deletion won"),
        pytest.param(put(THEIRS, 9), deletion("k"), NOW, NOW, id="deletion lost"),
        pytest.param(
            put(MINE, 9, created=True),
            write("k", MINE, expected=0),
            NOW,
            Committed(compose(9, 0)),
            id="create won",
        ),
        pytest.param(
            put(THEIRS, 9, created=True), write("k", MINE, expected=0), NOW, None, id="look on"
        ),
        pytest.param(
            gone(10), write("k", MINE, expected=0), NOW, None, id="look on after deletion"
        ),
        pytest.param(
            put(THEIRS, 20, created=True), write("k", MINE, expected=0), NOW, NOW, id="create lost"
        ),
    ],
)
def test_judge(event: Event, attempt: Write, refused: Refused, outcome: object) -> None:
    assert judge(event, attempt, refused) == outcome
