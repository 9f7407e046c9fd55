"""Keeps etcd's history short: every five minutes, what is older than the previous five goes.

Several API servers share the work through the key `compact_rev_key`: each round, whoever updates it
first compacts. The revision compacted at is always one in which that key was written: see ADR 0001.

Source: k8s.io/apiserver pkg/storage/etcd3/compact.go.
"""

import logging
from dataclasses import dataclass

from apiserver.storage.etcd_client import EtcdClient, EtcdError
from podpath.component_base.clock import Clock
from protos.etcd import etcdserverpb_pb2 as pb

_LOG = logging.getLogger(__name__)

COMPACTION_KEY = b"compact_rev_key"
COMPACTION_PERIOD_S = 300.0


@dataclass(frozen=True, slots=True)
class Round:
    """What a compactor knows between rounds: the key's etcd version, and the revision in which it
    was last written (0: not known yet)."""

    key_version: int = 0
    revision: int = 0


async def compact_once(client: EtcdClient, before: Round) -> Round:
    """One round: compacts at `before.revision` unless another compactor was first.

    Raises: EtcdError.
    """
    txn = pb.TxnRequest()
    txn.compare.add(
        key=COMPACTION_KEY,
        target=pb.Compare.VERSION,
        result=pb.Compare.EQUAL,
        version=before.key_version,
    )
    put = txn.success.add().request_put
    put.key, put.value = COMPACTION_KEY, str(before.revision).encode()
    txn.failure.add().request_range.key = COMPACTION_KEY
    response = await client.txn(txn)
    if not response.succeeded:
        kvs = response.responses[0].response_range.kvs
        return Round(kvs[0].version, kvs[0].mod_revision) if kvs else Round()
    if before.revision:
        await client.compact(before.revision)
        _LOG.info("compacted etcd", extra={"revision": before.revision})
    return Round(before.key_version + 1, response.header.revision)


async def run_compactor(
    client: EtcdClient, clock: Clock, period_s: float = COMPACTION_PERIOD_S
) -> None:
    """Compacts for ever; `period_s` 0 never does. History is held for one to two periods."""
    state = Round()
    while period_s:
        await clock.sleep(period_s)
        try:
            state = await compact_once(client, state)
        except EtcdError as error:
            _LOG.warning("etcd was not compacted: %s", error)
