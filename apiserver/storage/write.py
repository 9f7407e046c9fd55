"""One compare-and-swap write on its way to etcd: how it becomes a transaction and what came back.

Pure: builds and reads messages. `group_commit.py` sends them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from apiserver.storage import envelope
from apiserver.storage.interface import Stored, Value
from apiserver.storage.resource_version import compose
from protos.etcd import etcdserverpb_pb2 as pb
from protos.etcd.mvccpb_pb2 import KeyValue

_OVERHEAD_BYTES = 200  # of messages around a key (three times) and its value


@dataclass(slots=True, eq=False)
class Write:
    """A create (`expected` 0), update or delete (`value` None).

    `expected` is the etcd revision that the key must be at. `since` is a revision before which the
    write cannot have happened: where to look for it when its outcome is unknown.
    """

    key: str
    value: Value | None
    expected: int
    since: int
    lease: int
    give_up_at: float
    done: "asyncio.Future[int]"
    alone: bool = False
    """Goes in a transaction of its own: JSON, or its group was refused as a whole."""
    in_doubt: bool = False
    """An earlier attempt was sent and its outcome is unknown."""
    size: int = field(init=False)

    def __post_init__(self) -> None:
        raw = len(self.value.raw) if self.value else 0
        self.size = raw + 3 * len(self.key) + _OVERHEAD_BYTES
        self.alone = self.value is not None and not envelope.can_hold_index(self.value)


@dataclass(frozen=True, slots=True)
class Committed:
    version: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The compare failed. `current` is what the key holds, None when it is gone."""

    current: Stored | None


Outcome = Committed | Refused


def build_txn(group: Sequence[Write]) -> pb.TxnRequest:
    """A lone write as upstream sends it; several as nested transactions, each with its compare."""
    txn = pb.TxnRequest()
    if len(group) == 1:
        _fill(txn, group[0], 0)
        return txn
    for index, write in enumerate(group):
        _fill(txn.success.add().request_txn, write, index)
    return txn


def read_outcomes(group: Sequence[Write], response: pb.TxnResponse) -> list[Outcome]:
    """What became of each member, in the group's order."""
    revision = response.header.revision
    if len(group) == 1:
        return [_outcome(response, revision, 0)]
    return [
        _outcome(op.response_txn, revision, index) for index, op in enumerate(response.responses)
    ]


def to_stored(kv: KeyValue) -> Stored:
    """A value that cannot be decoded comes raw and without a kind."""
    value, index = envelope.decode_or_raw(kv.value)
    return Stored(kv.key.decode(), value, compose(kv.mod_revision, index))


def _fill(txn: pb.TxnRequest, write: Write, index: int) -> None:
    key = write.key.encode()
    txn.compare.add(
        key=key, target=pb.Compare.MOD, result=pb.Compare.EQUAL, mod_revision=write.expected
    )
    if write.value is None:
        txn.success.add().request_delete_range.key = key
    else:
        put = txn.success.add().request_put
        put.key = key
        put.value = envelope.encode(write.value, index)
        put.lease = write.lease
    txn.failure.add().request_range.key = key


def _outcome(response: pb.TxnResponse, revision: int, index: int) -> Outcome:
    if response.succeeded:
        return Committed(compose(revision, index))
    kvs = response.responses[0].response_range.kvs
    return Refused(to_stored(kvs[0]) if kvs else None)
