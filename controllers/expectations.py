"""What a controller has asked for and not yet seen in its cache.

Until every creation and deletion that it sent has come back through the informer, the cache is
too old to count Pods by; after five minutes it is believed again, whatever is missing.

Source: k8s.io/kubernetes pkg/controller/controller_utils.go (ControllerExpectations,
UIDTrackingControllerExpectations).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from podpath.client.informer import ObjectKey
from podpath.component_base.clock import Clock

TIMEOUT_S = 300.0


@dataclass(slots=True)
class _Expected:
    creations: int
    deletions: set[str]
    since: float


class Expectations:
    """Per key of an owner: how many creations, and which uids to vanish."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expected: dict[ObjectKey, _Expected] = {}

    def satisfied(self, key: ObjectKey) -> bool:
        """True when the cache may be trusted: all was seen, nothing expected, or too long ago."""
        expected = self._expected.get(key)
        if expected is None or (expected.creations <= 0 and not expected.deletions):
            return True
        return self._clock.monotonic() - expected.since > TIMEOUT_S

    def expect_creations(self, key: ObjectKey, count: int) -> None:
        """Replaces what was expected of the key."""
        self._expected[key] = _Expected(count, set(), self._clock.monotonic())

    def expect_deletions(self, key: ObjectKey, uids: Iterable[str]) -> None:
        """Replaces what was expected of the key."""
        self._expected[key] = _Expected(0, set(uids), self._clock.monotonic())

    def creation_observed(self, key: ObjectKey, count: int = 1) -> None:
        """Creations came back, or will never happen."""
        expected = self._expected.get(key)
        if expected is not None:
            expected.creations = max(0, expected.creations - count)

    def deletion_observed(self, key: ObjectKey, uid: str) -> None:
        """The deletion came back, or will never happen."""
        expected = self._expected.get(key)
        if expected is not None:
            expected.deletions.discard(uid)

    def forget(self, key: ObjectKey) -> None:
        """The owner is gone."""
        self._expected.pop(key, None)
