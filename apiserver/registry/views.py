"""Resources that are another version of stored ones: each shows the stored object converted.

events.k8s.io/v1 shows core/v1 Events, autoscaling/v1 shows autoscaling/v2 autoscalers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from apiserver.registry.autoscaling import horizontalpodautoscaler as hpa
from apiserver.registry.core import event
from apiserver.storage.version import ObjectVersion
from apiserver.verbs.interface import Version
from podpath.api import scheme
from podpath.api.scheme import Resource


def _same(obj: Any) -> Any:
    return obj


@dataclass(frozen=True, slots=True)
class View:
    """How a resource relates to what is stored."""

    resource: Resource[Any]
    stored: Resource[Any]
    to_stored: Callable[[Any], Any] = _same
    from_stored: Callable[[Any], Any] = _same

    def show(self, version: Version) -> Version:
        """The stored version as this resource shows it."""
        if self.resource is self.stored:
            return version
        return ObjectVersion(self.resource, self.from_stored(version.object))

    def show_object(self, obj: Message) -> Message:
        converted: Message = self.from_stored(obj)
        return converted


_CONVERTED = {
    scheme.EVENTS_EVENTS_V1: View(
        scheme.EVENTS_EVENTS_V1, scheme.EVENTS, event.to_core, event.from_core
    ),
    scheme.HORIZONTALPODAUTOSCALERS_V1: View(
        scheme.HORIZONTALPODAUTOSCALERS_V1,
        scheme.HORIZONTALPODAUTOSCALERS,
        hpa.to_v2,
        hpa.from_v2,
    ),
}


def view_of(resource: Resource[Any]) -> View:
    """The view that a resource is of storage."""
    return _CONVERTED.get(resource) or View(resource, resource)
