"""What a plugin says about a Pod, or about a Pod on one node.

Source: pkg/scheduler/framework/interface.go (Status, Code), types.go (FitError, NodeToStatus).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Code(Enum):
    """Outcomes; UNRESOLVABLE means that removing other Pods from the node would not help."""

    SUCCESS = "Success"
    ERROR = "Error"
    UNSCHEDULABLE = "Unschedulable"
    UNRESOLVABLE = "UnschedulableAndUnresolvable"
    WAIT = "Wait"
    SKIP = "Skip"
    PENDING = "Pending"


@dataclass(frozen=True, slots=True)
class Status:
    """`reasons` are for people: one for each thing that is wrong. `plugin` said it."""

    code: Code
    reasons: tuple[str, ...] = ()
    plugin: str = ""

    @property
    def message(self) -> str:
        return ", ".join(self.reasons)

    @property
    def is_rejection(self) -> bool:
        return self.code in (Code.UNSCHEDULABLE, Code.UNRESOLVABLE, Code.PENDING)


SUCCESS = Status(Code.SUCCESS)
SKIP = Status(Code.SKIP)


def unschedulable(plugin: str, *reasons: str) -> Status:
    return Status(Code.UNSCHEDULABLE, reasons, plugin)


def unresolvable(plugin: str, *reasons: str) -> Status:
    return Status(Code.UNRESOLVABLE, reasons, plugin)


def failed(plugin: str, *reasons: str) -> Status:
    """The plugin could not tell: the Pod is tried again."""
    return Status(Code.ERROR, reasons, plugin)


NO_NODES = "no nodes available to schedule pods"


def tally(by_node: Mapping[str, Status]) -> Counter[str]:
    """How many nodes gave each reason. A mapping that knows it better has a method `tally`."""
    known = getattr(by_node, "tally", None)
    if known is not None:
        return Counter(known())
    return Counter(reason for status in by_node.values() for reason in status.reasons)


@dataclass(frozen=True, slots=True)
class FitError:
    """Why no node fits: what was said about each, or once about all (`pre_filter`).

    `absent` holds for the nodes that `by_node` does not name.
    """

    node_count: int
    by_node: Mapping[str, Status]
    pre_filter: Status | None = None
    post_filter_message: str = ""
    absent: Status | None = None
    narrowed_by: frozenset[str] = frozenset()

    @property
    def pending_plugins(self) -> frozenset[str]:
        """Those that only wait for something."""
        if hasattr(self.by_node, "plugins"):
            return frozenset()  # of in-tree filters, none of which does that
        said = [*self.by_node.values(), *((self.pre_filter,) if self.pre_filter else ())]
        return frozenset(status.plugin for status in said if status.code is Code.PENDING)

    @property
    def plugins(self) -> frozenset[str]:
        """Those whose verdict has to change before another try makes sense."""
        known = getattr(self.by_node, "plugins", None)
        said = set(known()) if known else {status.plugin for status in self.by_node.values()}
        if self.pre_filter is not None:
            said.add(self.pre_filter.plugin)
        return frozenset(said) | self.narrowed_by

    def __str__(self) -> str:
        """`0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`"""
        if self.node_count == 0:
            return NO_NODES
        text = f"0/{self.node_count} nodes are available:"
        if self.pre_filter is not None:
            text += f" {self.pre_filter.message}."
        else:
            counts = tally(self.by_node)
            missing = self.node_count - len(self.by_node)
            if missing > 0 and self.absent is not None:
                counts.update(dict.fromkeys(self.absent.reasons, missing))
            listed = sorted(f"{count} {reason}" for reason, count in counts.items())
            text += f" {', '.join(listed)}." if listed else ""
        return f"{text} {self.post_filter_message}" if self.post_filter_message else text
