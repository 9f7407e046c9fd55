"""What the filters say about every row, as numbers that stand for statuses."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from scheduler.framework.status import SUCCESS, Code, Status
from scheduler.node_info import NodeInfo

Codes = npt.NDArray[np.int32]


class StatusBook:
    """Statuses by number; 0 is success."""

    def __init__(self) -> None:
        self.statuses: list[Status] = [SUCCESS]
        self._numbers: dict[Status, int] = {SUCCESS: 0}

    def number(self, status: Status) -> int:
        found = self._numbers.get(status)
        if found is None:
            found = self._numbers[status] = len(self.statuses)
            self.statuses.append(status)
        return found


class Verdicts(Mapping[str, Status]):
    """The rejections of all rows by node name, without an object for each."""

    def __init__(self, codes: Codes, book: StatusBook, nodes: Sequence[NodeInfo]) -> None:
        self._codes = codes
        self._book = book
        self._nodes = nodes
        self._rows: dict[str, int] | None = None

    def __getitem__(self, name: str) -> Status:
        if self._rows is None:
            self._rows = {node.name: row for row, node in enumerate(self._nodes)}
        code = int(self._codes[self._rows[name]])
        if code == 0:
            raise KeyError(name)
        return self._book.statuses[code]

    def __iter__(self) -> Iterator[str]:
        return (self._nodes[row].name for row in np.flatnonzero(self._codes).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self._codes))

    def _counted(self) -> list[tuple[Status, int]]:
        counts = np.bincount(self._codes)
        statuses = self._book.statuses
        return [(statuses[code], int(n)) for code, n in enumerate(counts) if code and n]

    def tally(self) -> Counter[str]:
        """How many nodes gave each reason."""
        found: Counter[str] = Counter()
        for status, count in self._counted():
            for reason in status.reasons:
                found[reason] += count
        return found

    def plugins(self) -> set[str]:
        return {status.plugin for status, _ in self._counted()}

    def with_code(self, code: Code) -> list[NodeInfo]:
        """The nodes that were rejected in this way, in their order."""
        wanted = [n for n, status in enumerate(self._book.statuses) if n and status.code is code]
        return [self._nodes[row] for row in np.flatnonzero(np.isin(self._codes, wanted)).tolist()]
