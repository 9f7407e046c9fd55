"""What happens in the cluster, and which of it can help a Pod that a plugin rejected.

Source: pkg/scheduler/framework/types.go (ClusterEvent, ActionType), events.go.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Protocol, runtime_checkable

from podpath.api import scheme
from podpath.api.scheme import Resource
from scheduler.pod_info import PodInfo

log = logging.getLogger(__name__)


class Action(Flag):
    """What changed of an object; an update may be several at once."""

    NONE = 0
    ADD = auto()
    DELETE = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABELS = auto()
    NODE_TAINTS = auto()
    NODE_CONDITIONS = auto()
    NODE_ANNOTATIONS = auto()
    POD_LABELS = auto()
    POD_SCALE_DOWN = auto()
    POD_TOLERATIONS = auto()
    POD_GATES_ELIMINATED = auto()
    OTHER_UPDATE = auto()


UPDATE = (
    Action.NODE_ALLOCATABLE
    | Action.NODE_LABELS
    | Action.NODE_TAINTS
    | Action.NODE_CONDITIONS
    | Action.NODE_ANNOTATIONS
    | Action.POD_LABELS
    | Action.POD_SCALE_DOWN
    | Action.POD_TOLERATIONS
    | Action.POD_GATES_ELIMINATED
    | Action.OTHER_UPDATE
)


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """`old` is None for what is new, `new` for what is gone. Pods are PodInfo, others messages."""

    resource: Resource[Any] | None  # None: anything may have changed
    action: Action
    old: Any = None
    new: Any = None


ANYTHING = ClusterEvent(None, Action.OTHER_UPDATE)

Hint = Callable[[PodInfo, Any, Any], bool]
"""(the waiting Pod, old, new) -> whether another try makes sense."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A plugin's interest in events; without a hint every such event makes another try."""

    resource: Resource[Any]
    actions: Action
    hint: Hint | None = None

    def wants(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """A hint that fails says yes: a try too many harms less than a Pod that nobody wakes."""
        if event.resource is not self.resource or not event.action & self.actions:
            return False
        try:
            return self.hint is None or self.hint(pod, event.old, event.new)
        except Exception:
            log.exception("a queueing hint failed", extra={"pod": pod.key})
            return True


@runtime_checkable
class EnqueueExtensions(Protocol):
    """A plugin that says what can lift its rejections. One that does not is tried at any event."""

    def events_to_register(self) -> Sequence[Registration]: ...


def own_event(old: PodInfo, new: PodInfo) -> ClusterEvent:
    """A Pod without a node changed; action NONE when scheduling looks at nothing of it."""
    return ClusterEvent(scheme.PODS, _own_changes(old, new), old, new)


def _own_changes(old: PodInfo, new: PodInfo) -> Action:
    found = Action.NONE
    before, after = old.pod.spec, new.pod.spec
    if old.labels != new.labels:
        found |= Action.POD_LABELS
    if list(before.tolerations) != list(after.tolerations):
        found |= Action.POD_TOLERATIONS
    if old.request != new.request:
        found |= Action.POD_SCALE_DOWN
    if before.schedulingGates and not after.schedulingGates:
        found |= Action.POD_GATES_ELIMINATED
    if not found and before != after:
        found |= Action.OTHER_UPDATE
    return found
