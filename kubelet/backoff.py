"""Exponential back-off by key, as the kubelet uses it for crash loops and image pulls.

Source: k8s.io/client-go util/flowcontrol/backoff.go.
"""

from podpath.component_base.clock import Clock

INITIAL_S = 10.0
MAX_S = 300.0
# An entry that nothing has touched for this many times the maximum starts anew.
_FORGET_AFTER = 2


class Backoff:
    """Doubles from 10 s to 300 s at each `next`; starts anew after 600 s without one."""

    def __init__(self, clock: Clock, initial_s: float = INITIAL_S, max_s: float = MAX_S) -> None:
        self._clock = clock
        self._initial_s = initial_s
        self._max_s = max_s
        self._entries: dict[str, tuple[float, float]] = {}  # key -> (delay, last update)

    def next(self, key: str, elapsed_s: float = 0.0) -> None:
        """Counts one more failure, which was `elapsed_s` ago."""
        now = self._clock.monotonic()
        delay_s = self._initial_s
        entry = self._entries.get(key)
        if entry is not None and now - elapsed_s - entry[1] <= _FORGET_AFTER * self._max_s:
            delay_s = min(entry[0] * 2, self._max_s)
        self._entries[key] = (delay_s, now)

    def get(self, key: str) -> float:
        """The present delay in seconds; 0 without failures."""
        entry = self._entries.get(key)
        return entry[0] if entry is not None else 0.0

    def remaining_since(self, key: str, elapsed_s: float) -> float:
        """Seconds still to wait when the event that counts was `elapsed_s` ago; 0 when over."""
        entry = self._entries.get(key)
        # What ran that long before it failed has earned a new start.
        if entry is None or (
            self._clock.monotonic() - elapsed_s - entry[1] > _FORGET_AFTER * self._max_s
        ):
            return 0.0
        return max(0.0, entry[0] - elapsed_s)

    def remaining(self, key: str) -> float:
        """Seconds still to wait since the last `next`; 0 when over."""
        entry = self._entries.get(key)
        if entry is None:
            return 0.0
        return self.remaining_since(key, self._clock.monotonic() - entry[1])

    def forget(self, key: str) -> None:
        self._entries.pop(key, None)

    def forget_pod(self, uid: str) -> None:
        """Drops the entries whose key begins with the Pod's uid."""
        for key in [k for k in self._entries if k.startswith(uid)]:
            del self._entries[key]
