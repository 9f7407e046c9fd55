"""What became of a write whose answer was lost.

The same compare-and-swap was sent again and refused, so the first attempt is over: either it was
stored, and then the key's history shows it, or it lost, and never will be.
"""

import asyncio

import grpc

from apiserver.storage import envelope
from apiserver.storage.etcd_client import EtcdClient, EtcdError
from apiserver.storage.interface import StorageUnavailableError
from apiserver.storage.resource_version import compose, revision_of
from apiserver.storage.write import Committed, Outcome, Refused, Write
from protos.etcd import etcdserverpb_pb2 as pb
from protos.etcd.mvccpb_pb2 import Event

_TIMEOUT_S = 10.0


async def find_commit(client: EtcdClient, write: Write, refused: Refused) -> Outcome:
    """Committed if the history of the key holds this write, else `refused`.

    Raises: EtcdError (try again), StorageUnavailableError if the history was compacted.
    """
    request = pb.WatchCreateRequest(key=write.key.encode(), start_revision=write.since + 1)
    stream = await client.open_watch(request)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                response = await stream.read()
                if response.canceled:
                    reason = response.cancel_reason
                    raise StorageUnavailableError(f"{write.key}: outcome not known: {reason}")
                for event in response.events:
                    if (outcome := judge(event, write, refused)) is not None:
                        return outcome
    except TimeoutError as error:
        raise EtcdError(grpc.StatusCode.DEADLINE_EXCEEDED, "history of a key") from error
    finally:
        stream.cancel()


def judge(event: Event, write: Write, refused: Refused) -> Outcome | None:
    """What one change of the key says; None: look at the next.

    An update or deletion succeeded exactly if the first change after the version it expected is
    its own. A create may come after others' creates and deletions; it was refused because of
    `refused.current`, so there the search ends.
    """
    if (version := _version_if_ours(event, write)) is not None:
        return Committed(version)
    if write.expected or refused.current is None:
        return refused
    is_last = event.kv.mod_revision >= revision_of(refused.current.version)
    return refused if is_last else None


def _version_if_ours(event: Event, write: Write) -> int | None:
    if write.value is None:
        is_deletion = event.type == Event.DELETE
        return compose(event.kv.mod_revision, 0) if is_deletion else None
    if event.type != Event.PUT:
        return None
    if not write.expected and event.kv.create_revision != event.kv.mod_revision:
        return None
    value, index = envelope.decode_or_raw(event.kv.value)
    return compose(event.kv.mod_revision, index) if value == write.value else None
