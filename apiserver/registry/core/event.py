"""Events: one set of objects, seen through core/v1 and events.k8s.io/v1; gone after an hour.

Stored as core/v1, as upstream does.

Source: pkg/apis/events/v1/conversion.go, pkg/registry/core/event.
"""

from typing import Any

from protos.k8s import core_v1_pb2, events_v1_pb2

TTL_S = 3600

# core/v1 field -> events.k8s.io/v1 field; metadata, action, reason, ... are named alike.
_SAME = ("metadata", "eventTime", "action", "reason", "related", "type", "reportingInstance")
_RENAMED = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_FIELDS = {**{name: name for name in _SAME}, **_RENAMED}


def to_core(event: events_v1_pb2.Event) -> core_v1_pb2.Event:
    """The same Event as core/v1."""
    core = core_v1_pb2.Event()
    for core_name, events_name in _FIELDS.items():
        if event.HasField(events_name):
            _assign(core, core_name, getattr(event, events_name))
    _copy_series(event, core)
    return core


def from_core(core: core_v1_pb2.Event) -> events_v1_pb2.Event:
    """The same Event as events.k8s.io/v1."""
    event = events_v1_pb2.Event()
    for core_name, events_name in _FIELDS.items():
        if core.HasField(core_name):
            _assign(event, events_name, getattr(core, core_name))
    _copy_series(core, event)
    return event


def _copy_series(source: Any, target: Any) -> None:
    """The two versions' series are different messages with the same fields."""
    if not source.HasField("series"):
        return
    target.series.SetInParent()
    for field in ("count", "lastObservedTime"):
        if source.series.HasField(field):
            _assign(target.series, field, getattr(source.series, field))


def _assign(message: Any, field: str, value: Any) -> None:
    target = getattr(message, field)
    if hasattr(target, "CopyFrom"):
        target.CopyFrom(value)
    else:
        setattr(message, field, value)
