"""What the API server asks of its storage: bytes under keys, in one total order.

Implementations: `etcd.py` (with `group_commit.py`), `memory.py` (tests, simulation). One suite,
`tests/contract/test_storage.py`, runs on both. A version is podpath's resourceVersion, an int that
grows with every write; docs/adr/0001-resource-version.md says how it relates to etcd's revision.

A value is a runtime.Unknown's content: the kind, the raw bytes, their content type. The envelope
(`k8s\\0`), group index and versions are storage's own business; raw holds no resourceVersion.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Value:
    """What is stored: `raw` is protobuf (content_type "") or JSON ("application/json")."""

    api_version: str
    kind: str
    raw: bytes
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one key."""

    key: str
    value: Value
    version: int


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a range, as of `version`. `remaining` is how many more keys the range holds."""

    items: list[Stored]
    version: int
    next_key: str = ""
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """`value` is None for a deletion; `previous` is what the key held before, if anything."""

    key: str
    version: int
    value: Value | None
    previous: Value | None
    created: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """A step of a watch: `changes` in order (none: a progress mark). Everything that happened
    under the watched prefix up to `version` has now been delivered."""

    changes: Sequence[Change]
    version: int


class StorageError(Exception):
    """Base of what storage raises."""


class KeyExistsError(StorageError):
    """Create found the key taken."""


class KeyNotFoundError(StorageError):
    """No such key."""


class VersionConflictError(StorageError):
    """Compare-and-swap lost. `current` is what the key holds now, None when it is gone."""

    def __init__(self, key: str, current: Stored | None) -> None:
        super().__init__(key)
        self.current = current


class CompactedError(StorageError):
    """The version asked for is no longer held. `oldest` is the first that is."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"compacted: the oldest version held is {oldest}")
        self.oldest = oldest


class FutureVersionError(StorageError):
    """The version asked for does not exist yet. `current` is the newest."""

    def __init__(self, asked: int, current: int) -> None:
        super().__init__(f"Too large resource version: {asked}, current: {current}")
        self.asked = asked
        self.current = current


class TooLargeError(StorageError):
    """One value exceeds what the store takes in a request."""


class StorageUnavailableError(StorageError):
    """The store cannot be reached, or its outcome could not be learned."""


class Reader(Protocol):
    async def get(self, key: str) -> Stored:
        """The newest committed value (linearizable). Raises: KeyNotFoundError."""

    async def list(
        self, prefix: str, *, limit: int = 0, from_key: str = "", version: int = 0
    ) -> Page:
        """Keys under `prefix` in key order, from `from_key` on, as of `version` (0: the newest).

        The newest is linearizable: every write acknowledged before the call is in it.
        Raises: CompactedError, FutureVersionError.
        """


class Writer(Protocol):
    async def create(self, key: str, value: Value, *, ttl_s: int = 0) -> int:
        """Stores under a new key; returns its version. Raises: KeyExistsError."""

    async def update(self, key: str, value: Value, expected: int, *, ttl_s: int = 0) -> int:
        """Replaces the version `expected`. Raises: VersionConflictError."""

    async def delete(self, key: str, expected: int) -> int:
        """Removes the version `expected`; returns the deletion's version.
        Raises: VersionConflictError."""


class Watcher(Protocol):
    def watch(
        self, prefix: str, since: int, *, with_previous: bool = True
    ) -> AsyncIterator[Changes]:
        """Changes under `prefix` strictly after version `since`, in order, nothing missed and
        nothing twice; survives reconnects. Without `with_previous`, `Change.previous` may be
        None where there was something, which spares the store reading it.
        Raises: CompactedError."""

    async def request_progress(self, prefix: str) -> bool:
        """Asks that the open watches of exactly `prefix` soon yield a step whose version is at
        least what `current_version` would answer now. May be lost: ask again while waiting.
        False when the server cannot do this safely."""

    async def current_version(self) -> int:
        """The newest version that any write so far may have got (linearizable)."""


class Storage(Reader, Writer, Watcher, Protocol):
    """All of it."""
