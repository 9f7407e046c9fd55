"""One version of one object, with its encodings made once for all who read it."""

from typing import Any

from google.protobuf.message import Message

from apiserver.storage.interface import Stored
from podpath.api import json_codec
from podpath.api.scheme import Resource
from protos.k8s.runtime_pb2 import Unknown


class ObjectVersion:
    """Implements `apiserver.verbs.interface.Version`. `object` is shared: read-only.

    metadata.resourceVersion is filled in already; an object that was not stored (a dry run, a
    computed view) may have none. Encodings are made when first asked for, then kept.
    """

    __slots__ = ("_json", "_object", "_resource", "_unknown")

    def __init__(self, resource: Resource[Any], obj: Message) -> None:
        self._resource = resource
        self._object = obj
        self._unknown: bytes | None = None
        self._json: bytes | None = None

    # Any: every object has `metadata`, which Message does not say.
    @property
    def object(self) -> Any:
        return self._object

    @property
    def resource(self) -> Resource[Any]:
        return self._resource

    @property
    def version(self) -> int:
        """0 for what was not stored."""
        return int(self.object.metadata.resourceVersion or 0)

    @property
    def unknown_bytes(self) -> bytes:
        if self._unknown is None:
            # As upstream does, the two last strings are written although they are empty.
            raw = self._object.SerializeToString(deterministic=True)
            unknown = Unknown(raw=raw, contentEncoding="", contentType="")
            unknown.typeMeta.apiVersion = self._resource.api_version
            unknown.typeMeta.kind = self._resource.kind
            self._unknown = unknown.SerializeToString()
        return self._unknown

    @property
    def json_bytes(self) -> bytes:
        if self._json is None:
            self._json = json_codec.json_bytes(self._resource, self._object)
        return self._json


def decode(resource: Resource[Any], stored: Stored) -> ObjectVersion:
    """The object that storage holds. Raises: google.protobuf.message.DecodeError."""
    obj = resource.message.FromString(stored.value.raw)
    obj.metadata.resourceVersion = str(stored.version)
    return ObjectVersion(resource, obj)


def at_version(version: ObjectVersion, resource_version: int) -> ObjectVersion:
    """The same object with another resourceVersion: the last state of what was deleted."""
    copy = version.resource.message()
    copy.CopyFrom(version.object)
    copy.metadata.resourceVersion = str(resource_version)
    return ObjectVersion(version.resource, copy)


INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that follows the initial events."""


def bookmark(
    resource: Resource[Any], resource_version: int, *, initial_events_end: bool = False
) -> ObjectVersion:
    """An object that says only how far a watch has come."""
    obj = resource.message()
    obj.metadata.resourceVersion = str(resource_version)
    if initial_events_end:
        obj.metadata.annotations[INITIAL_EVENTS_END] = "true"
    return ObjectVersion(resource, obj)
