"""What is particular to a kind when it is created, updated and deleted.

A strategy is pure: it changes the object it is handed and returns what is wrong with it. The
generic store (`store.py`) and the verbs call it; `registry/core/`, `registry/apps/` hold the kinds
that differ from `GenericStrategy`.

Source: k8s.io/apiserver pkg/registry/rest/{create,update,delete}.go.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message

from apiserver import validation
from apiserver.validation.metadata import validate_metadata_update
from podpath.api import json_codec, scheme
from podpath.api.errors import FieldError
from podpath.api.scheme import Resource
from protos.k8s.meta_v1_pb2 import DeleteOptions, ObjectMeta

# `obj`, `new` and `old` are messages of the strategy's kind. `old` is shared: never changed.


class Strategy(Protocol):
    """The steps of a write that depend on the kind."""

    def prepare_for_create(self, obj: Any) -> None:
        """Drops what a client may not set and fills what the server sets."""

    def validate(self, obj: Any) -> list[FieldError]: ...

    def prepare_for_update(self, new: Any, old: Any) -> None:
        """Restores in `new` what this update may not change."""

    def validate_update(self, new: Any, old: Any) -> list[FieldError]: ...

    def grace_period_s(self, obj: Any, options: DeleteOptions) -> int | None:
        """Seconds an object is given to end by itself; None when its kind is deleted at once."""

    def may_go(self, obj: Any) -> bool:
        """True if nothing of the kind's own (beyond finalizers) holds a deleted object back."""

    def mark_deleting(self, obj: Any) -> None:
        """What the kind shows, beyond deletionTimestamp, while it is being deleted."""


# Kinds whose metadata.generation counts changes of the desired state.
_GENERATED = frozenset(
    {
        scheme.DEPLOYMENTS,
        scheme.REPLICASETS,
        scheme.STATEFULSETS,
        scheme.DAEMONSETS,
        scheme.REPLICATIONCONTROLLERS,
        scheme.JOBS,
        scheme.CRONJOBS,
        scheme.INGRESSES,
        scheme.INGRESSCLASSES,
        scheme.NETWORKPOLICIES,
        scheme.PODDISRUPTIONBUDGETS,
        scheme.FLOWSCHEMAS,
        scheme.PRIORITYLEVELCONFIGURATIONS,
        scheme.PRIORITYCLASSES,
        scheme.ENDPOINTSLICES,
        scheme.VALIDATINGADMISSIONPOLICIES,
        scheme.VALIDATINGADMISSIONPOLICYBINDINGS,
        scheme.VALIDATINGWEBHOOKCONFIGURATIONS,
        scheme.MUTATINGWEBHOOKCONFIGURATIONS,
    }
)

# Kinds that keep a status given at creation, and those that start with a phase.
_STATUS_AT_CREATION = frozenset({scheme.NODES})
_FIRST_PHASE = {scheme.PERSISTENTVOLUMECLAIMS: "Pending", scheme.PERSISTENTVOLUMES: "Pending"}


@dataclass(frozen=True)
class GenericStrategy:
    """What holds for every kind: status apart from spec, generation, no graceful deletion."""

    resource: Resource[Any]

    def prepare_for_create(self, obj: Any) -> None:
        if "status" in self.resource.subresources and self.resource not in _STATUS_AT_CREATION:
            obj.ClearField("status")
        if self.resource in _FIRST_PHASE:
            obj.status.phase = _FIRST_PHASE[self.resource]
        if self.resource in _GENERATED:
            obj.metadata.generation = 1

    def validate(self, obj: Any) -> list[FieldError]:
        return validation.validate_create(self.resource, obj)

    def prepare_for_update(self, new: Any, old: Any) -> None:
        if "status" in self.resource.subresources:
            keep(new, old, "status")
        if self.resource in _GENERATED and differs_beyond_metadata(new, old):
            new.metadata.generation = old.metadata.generation + 1

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return validation.validate_update(self.resource, new, old)

    def grace_period_s(self, obj: Any, options: DeleteOptions) -> int | None:
        return None

    def may_go(self, obj: Any) -> bool:
        return True

    def mark_deleting(self, obj: Any) -> None:
        pass


# What of the metadata an update of the status may change: owners never.
_WITH_STATUS = ("labels", "annotations", "finalizers", "managedFields")
_WITH_STATUS_OF: dict[type[Message], tuple[str, ...]] = {
    scheme.DEPLOYMENTS.message: ("annotations", "finalizers", "managedFields"),
    scheme.VOLUMEATTACHMENTS.message: (),
    scheme.VALIDATINGADMISSIONPOLICIES.message: (),
}


@dataclass(frozen=True)
class StatusStrategy:
    """An update of the subresource `status`: everything but the status stays as it is."""

    owner: Strategy

    def prepare_for_create(self, obj: Any) -> None:
        raise AssertionError("a status is never created")

    def validate(self, obj: Any) -> list[FieldError]:
        return []

    def prepare_for_update(self, new: Any, old: Any) -> None:
        status = type(new)()
        keep(status, new, "status")
        meta = ObjectMeta()
        meta.CopyFrom(new.metadata)
        new.CopyFrom(old)
        keep(new, status, "status")
        for part in _WITH_STATUS_OF.get(type(new), _WITH_STATUS):
            keep(new.metadata, meta, part)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return validate_metadata_update(new.metadata, old.metadata)

    def grace_period_s(self, obj: Any, options: DeleteOptions) -> int | None:
        return None

    def may_go(self, obj: Any) -> bool:
        return self.owner.may_go(obj)

    def mark_deleting(self, obj: Any) -> None:
        self.owner.mark_deleting(obj)


def keep(new: Any, old: Any, field: str) -> None:
    """Makes `field` of `new` what it is in `old`."""
    new.ClearField(field)
    if _is_set(old, field):
        target = getattr(new, field)
        if hasattr(target, "CopyFrom"):
            target.CopyFrom(getattr(old, field))
        else:
            target.MergeFrom(getattr(old, field))


def _is_set(message: Any, field: str) -> bool:
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    if descriptor.is_repeated:
        return len(getattr(message, field)) > 0
    return bool(message.HasField(field))


def differs_beyond_metadata(new: Any, old: Any) -> bool:
    """True if `new` and `old` say different things anywhere but in metadata and status.

    Whether a field of no effect is present (`name: ""`) depends on the client's encoder: it is no
    difference.
    """
    return any(
        getattr(new, field.name) != getattr(old, field.name)
        and _said(new, field) != _said(old, field)
        for field in new.DESCRIPTOR.fields
        if field.name not in ("metadata", "status")
    )


def _said(obj: Any, field: Any) -> Any:
    """A field's JSON, if it is a message: the form in which presence does not count."""
    value = getattr(obj, field.name)
    return value if field.is_repeated or field.message_type is None else json_codec.to_json(value)


def other_uid(resource: Resource[Any], obj: Any, expected: str) -> str:
    """What a write is told that means another object of the same name."""
    key = resource.storage_key(obj.metadata.namespace, obj.metadata.name)
    return (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {expected}, "
        f"UID in object meta: {obj.metadata.uid}"
    )
