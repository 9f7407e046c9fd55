"""The last verdicts of all probes, by container id, and who is told when one changes.

Source: pkg/kubelet/prober/results/results_manager.go.
"""

from collections.abc import Callable
from enum import Enum

from kubelet.pod_actions import ProbeOutcome


class ProbeType(Enum):
    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


class Results:
    """Verdicts of one node."""

    def __init__(self, on_change: Callable[[str], None]) -> None:
        """`on_change` gets the uid of the Pod whose verdict changed."""
        self._on_change = on_change
        self.by_type: dict[ProbeType, dict[str, ProbeOutcome]] = {t: {} for t in ProbeType}

    @property
    def startup(self) -> dict[str, ProbeOutcome]:
        return self.by_type[ProbeType.STARTUP]

    @property
    def readiness(self) -> dict[str, ProbeOutcome]:
        return self.by_type[ProbeType.READINESS]

    @property
    def liveness(self) -> dict[str, ProbeOutcome]:
        return self.by_type[ProbeType.LIVENESS]

    def set(self, kind: ProbeType, container_id: str, outcome: ProbeOutcome, uid: str) -> None:
        verdicts = self.by_type[kind]
        if verdicts.get(container_id) is outcome:
            return
        verdicts[container_id] = outcome
        self._on_change(uid)

    def get(self, kind: ProbeType, container_id: str) -> ProbeOutcome | None:
        return self.by_type[kind].get(container_id)

    def forget(self, kind: ProbeType, container_id: str) -> None:
        self.by_type[kind].pop(container_id, None)
