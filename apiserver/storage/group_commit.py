"""Concurrent writes, coalesced: one etcd transaction of nested compare-and-swap transactions.

    submit ──► pending ──plan──► groups ──a round or two under way──► etcd
                  ▲                                                    │
                  └──────── outcome unknown: the same again ◄──────────┘

A lone write is sent at once, also beside another small round: a Pod's status does not wait for the
Event of its binding. While a large round is under way, what comes gathers for the next one, so a
backlog becomes large groups. After a large round the next one lingers a moment for its writers to
return. A key is in one round at a time.
docs/adr/0001-resource-version.md says how members of a group get versions of their own.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from functools import partial

import grpc

from apiserver.storage.etcd_client import RETRY_DELAY_S, EtcdClient, EtcdError
from apiserver.storage.interface import (
    KeyExistsError,
    StorageUnavailableError,
    TooLargeError,
    Value,
    VersionConflictError,
)
from apiserver.storage.resolve import find_commit
from apiserver.storage.resource_version import MAX_GROUP
from apiserver.storage.write import Committed, Outcome, Refused, Write, build_txn, read_outcomes
from podpath.component_base.clock import Clock

_LOG = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1_500_000
"""A little under etcd's --max-request-bytes (1.5 MiB)."""

MAX_PARALLEL = 32
"""Transactions of one round that are under way at once."""

LINGER_S = 0.002
_LINGER_FROM = 16  # writes in the previous round that count as a backlog
_ROUNDS_MAX = 2

GIVE_UP_AFTER_S = 30.0
"""How long a write is repeated while etcd cannot be reached."""


def plan(
    pending: Sequence[Write], busy: Collection[str] = ()
) -> tuple[list[list[Write]], list[Write]]:
    """The next round's groups, and the writes that wait for a later one.

    The first group holds up to MAX_GROUP writes of at most MAX_REQUEST_BYTES, a deletion only as
    its first member. Further deletions and values that cannot hold an index go alone. Keys are
    distinct in a round, and writes of one key keep their order. No key in `busy` is written: these
    are in a round that is under way.
    """
    shared: list[Write] = []
    lone: list[list[Write]] = []
    rest: list[Write] = []
    seen = set(busy)
    room = MAX_REQUEST_BYTES
    for position, write in enumerate(pending):
        if len(shared) == MAX_GROUP or (shared and write.size > room):
            rest.extend(pending[position:])
            break
        if write.key in seen:
            rest.append(write)
            continue
        seen.add(write.key)
        second_deletion = write.value is None and shared and shared[0].value is None
        if write.alone or second_deletion:
            (lone.append([write]) if len(lone) < MAX_PARALLEL - 1 else rest.append(write))
            continue
        room -= write.size
        shared.insert(0 if write.value is None else len(shared), write)
    return ([shared, *lone] if shared else lone), rest


def linger_s(previous_round: int, pending: int) -> float:
    """How long to wait for more writes, in seconds: only when a backlog is on its way back."""
    backlog = previous_round >= _LINGER_FROM
    return LINGER_S if backlog and pending < previous_round // 2 else 0.0


def may_send(under_way: Sequence[int]) -> bool:
    """Whether a round may go while rounds of these sizes have not come back."""
    return len(under_way) < _ROUNDS_MAX and all(size < _LINGER_FROM for size in under_way)


class GroupCommit:
    """Takes writes from many tasks; `run` must be running for any of them to finish."""

    def __init__(self, client: EtcdClient, clock: Clock, *, grouped: bool = True) -> None:
        self._client = client
        self._clock = clock
        self._grouped = grouped
        self._pending: list[Write] = []
        self._busy: set[str] = set()
        self._rounds: dict[asyncio.Task[None], int] = {}
        self._wake = asyncio.Event()

    async def submit(self, key: str, value: Value | None, expected: int, lease: int = 0) -> int:
        """The version of the write (`expected` is etcd's revision, 0 to create).

        Raises: KeyExistsError, VersionConflictError, TooLargeError, StorageUnavailableError when
        the outcome could not be learned in GIVE_UP_AFTER_S.
        """
        write = Write(
            key=key,
            value=value,
            expected=expected,
            since=expected or self._client.last_revision,
            lease=lease,
            give_up_at=self._clock.monotonic() + GIVE_UP_AFTER_S,
            done=asyncio.get_running_loop().create_future(),
        )
        if write.size > MAX_REQUEST_BYTES:
            raise TooLargeError(f"{key}: {write.size} bytes, at most {MAX_REQUEST_BYTES}")
        if not self._grouped:
            write.alone = True
        self._pending.append(write)
        self._wake.set()
        return await write.done

    async def run(self) -> None:
        """Sends rounds until cancelled; then fails whatever still waits."""
        try:
            await self._run()
        finally:
            for write in self._pending:
                _fail(write, StorageUnavailableError("the storage is shutting down"))

    async def _run(self) -> None:
        sent = 0
        async with asyncio.TaskGroup() as tasks:
            while True:
                # Set when a write arrives and when a round is back.
                await self._wake.wait()
                self._wake.clear()
                if not self._pending or not may_send(tuple(self._rounds.values())):
                    continue
                if pause := linger_s(sent, len(self._pending)):
                    await self._clock.sleep(pause)
                # Whoever stopped waiting before his write was sent gets no write.
                wanted = [w for w in self._pending if w.in_doubt or not w.done.cancelled()]
                groups, self._pending = plan(wanted, self._busy)
                if groups:
                    sent = sum(map(len, groups))
                    round_ = tasks.create_task(self._round(groups), name="commit-round")
                    self._rounds[round_] = sent
                    self._busy.update(w.key for group in groups for w in group)
                    round_.add_done_callback(partial(self._back, groups))

    async def _round(self, groups: list[list[Write]]) -> None:
        unsettled = await self._send_round(groups)
        if unsettled:
            # First in line again, but not before the delay: their keys are busy until then.
            self._pending[:0] = unsettled
            await self._clock.sleep(RETRY_DELAY_S)

    def _back(self, groups: list[list[Write]], round_: asyncio.Task[None]) -> None:
        del self._rounds[round_]
        if round_.cancelled():  # perhaps before it began
            for write in (w for group in groups for w in group):
                _fail(write, StorageUnavailableError("the storage is shutting down"))
        self._busy.difference_update(w.key for group in groups for w in group)
        self._wake.set()

    async def _send_round(self, groups: list[list[Write]]) -> list[Write]:
        """The writes that must be sent again."""
        if len(groups) == 1:  # the common case, without a task of its own
            return await self._send(groups[0])
        again = await asyncio.gather(*(self._send(group) for group in groups))
        return [write for writes in again for write in writes]

    async def _send(self, group: list[Write]) -> list[Write]:
        try:
            response = await self._client.txn(build_txn(group))
            outcomes = read_outcomes(group, response)
        except EtcdError as error:
            return self._not_answered(group, error)
        except Exception as error:
            _LOG.exception("a commit group failed", extra={"keys": [w.key for w in group]})
            return _unexpected(group, error)
        return [
            write
            for write, outcome in zip(group, outcomes, strict=True)
            if not await self._settle(write, outcome)
        ]

    async def _settle(self, write: Write, outcome: Outcome) -> bool:
        """False when the outcome is still unknown."""
        if write.in_doubt and isinstance(outcome, Refused):
            try:
                outcome = await find_commit(self._client, write, outcome)
            except EtcdError as error:
                return not self._not_answered([write], error)
            except StorageUnavailableError as error:
                _fail(write, error)
                return True
        if isinstance(outcome, Committed):
            if not write.done.done():
                write.done.set_result(outcome.version)
        elif write.expected == 0:
            _fail(write, KeyExistsError(write.key))
        else:
            _fail(write, VersionConflictError(write.key, outcome.current))
        return True

    def _not_answered(self, group: list[Write], error: EtcdError) -> list[Write]:
        """Decides what to do after a failed transaction; the writes to send again."""
        if error.outcome_known:
            if len(group) == 1:
                _fail(group[0], _as_storage_error(group[0], error))
                return []
            for write in group:  # one of them is to blame: find out which
                write.alone = True
            return group
        _LOG.warning("etcd did not answer a write: %s", error, extra={"writes": len(group)})
        again = []
        for write in group:
            write.in_doubt = True
            if self._clock.monotonic() < write.give_up_at:
                again.append(write)
            else:
                _fail(write, error)
        return again


def _unexpected(group: list[Write], error: Exception) -> list[Write]:
    for write in group:
        _fail(write, error)
    return []


def _as_storage_error(write: Write, error: EtcdError) -> Exception:
    if error.code is grpc.StatusCode.INVALID_ARGUMENT and "too large" in error.details:
        return TooLargeError(f"{write.key}: {error.details}")
    return error


def _fail(write: Write, error: Exception) -> None:
    if not write.done.done():
        write.done.set_exception(error)
