"""CPU in use, in nanocores: the engine tells a total, this the rate of its growth. Pure."""

WINDOW_NS = 1_000_000_000
"""Two callers that ask at different moments would leave one another intervals too short to say
anything; a shorter one is answered with the last rate."""


class CpuRate:
    """Of one container or sandbox. Moments and totals are in nanoseconds."""

    def __init__(self) -> None:
        self._at = self._total = 0
        self._rate: int | None = None

    def after(self, at: int, total: int, began: int) -> int:
        """The rate since the last sample; at first the average since `began`, when `total` was 0.

        Source of the definition: CRI's CpuUsage.usage_nano_cores.
        """
        if not self._at or total < self._total:
            self._at, self._total = began, 0
        elapsed = at - self._at
        if elapsed < WINDOW_NS and self._rate is not None:
            return self._rate
        if elapsed <= 0:
            return 0
        rate = (total - self._total) * 1_000_000_000 // elapsed
        if elapsed >= WINDOW_NS:
            self._at, self._total, self._rate = at, total, rate
        return rate
