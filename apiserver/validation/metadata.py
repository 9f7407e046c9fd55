"""What every object's metadata must be like.

Source: k8s.io/apimachinery pkg/api/validation/{objectmeta,generic}.go, pkg/apis/core/validation
(ValidateObjectMeta).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from podpath.api import json_codec, names
from podpath.api.errors import (
    FieldError,
    forbidden_field,
    invalid,
    required,
    too_long,
)
from podpath.api.go_text import quote
from protos.k8s.meta_v1_pb2 import ManagedFieldsEntry, ObjectMeta, OwnerReference

# What is wrong with a name, or (second argument true) with the beginning of one.
NameRule = Callable[[str, bool], Iterable[str]]

ANNOTATIONS_BYTES_MAX = 256 * 1024
IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
_MANAGER_LENGTH_MAX = 128
_SUBRESOURCE_LENGTH_MAX = 256
_STANDARD_FINALIZERS = {"kubernetes", "orphan", "foregroundDeletion"}
_IMMUTABLE_FIELDS = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def _masked(name: str, prefix: bool) -> str:
    """The beginning of a generated name may end with a dash."""
    return name[:-2] + "a" if prefix and len(name) > 1 and name.endswith("-") else name


def dns_subdomain(name: str, prefix: bool = False) -> Iterable[str]:
    return names.dns_subdomain_problems(_masked(name, prefix))


def dns_label(name: str, prefix: bool = False) -> Iterable[str]:
    return names.dns_label_problems(_masked(name, prefix))


def dns_1035_label(name: str, prefix: bool = False) -> Iterable[str]:
    return names.dns_1035_problems(_masked(name, prefix))


def path_segment(name: str, prefix: bool = False) -> Iterable[str]:
    return names.path_segment_problems(name)


def ip_address(name: str, prefix: bool = False) -> Iterable[str]:
    address = names.parse_ip(name)
    if address is None:
        yield "must be a valid IP address"
    elif str(address) != name:
        yield "must be in canonical form"


def validate_metadata(
    meta: ObjectMeta, namespaced: bool, name_rule: NameRule, path: str = "metadata"
) -> list[FieldError]:
    """Metadata of a new object."""
    found: list[FieldError] = []
    if meta.generateName:
        problems = name_rule(meta.generateName, True)
        found += [invalid(f"{path}.generateName", meta.generateName, text) for text in problems]
    if not meta.name:
        found.append(required(f"{path}.name", "name or generateName is required"))
    else:
        problems = name_rule(meta.name, False)
        found += [invalid(f"{path}.name", meta.name, text) for text in problems]
    found += _namespace(meta, namespaced, path)
    if meta.generation < 0:
        found.append(invalid(f"{path}.generation", meta.generation, NOT_NEGATIVE))
    found += _marks(meta, path)
    found += _finalizers(meta, path)
    return found


def validate_metadata_update(
    new: ObjectMeta, old: ObjectMeta, path: str = "metadata"
) -> list[FieldError]:
    """Metadata of a changed object."""
    found: list[FieldError] = []
    if old.HasField("deletionTimestamp"):
        added = sorted(set(new.finalizers) - set(old.finalizers))
        if added:
            listed = ", ".join(map(quote, added))
            detail = (
                "no new finalizers can be added if the object is being deleted, found new "
                f"finalizers []string{{{listed}}}"
            )
            found.append(forbidden_field(f"{path}.finalizers", detail))
    if not new.resourceVersion:
        detail = "must be specified for an update"
        found.append(invalid(f"{path}.resourceVersion", "", detail))
    if new.generation < old.generation:
        found.append(invalid(f"{path}.generation", new.generation, "must not be decremented"))
    for name in _IMMUTABLE_FIELDS:
        if getattr(new, name) != getattr(old, name):
            value = json_codec.to_json(new).get(name)
            found.append(invalid(f"{path}.{name}", value, IMMUTABLE))
    found += _marks(new, path)
    found += _standard_finalizers(new, path)
    return found


def _namespace(meta: ObjectMeta, namespaced: bool, path: str) -> list[FieldError]:
    if not namespaced:
        if meta.namespace:
            return [forbidden_field(f"{path}.namespace", "not allowed on this type")]
        return []
    if not meta.namespace:
        return [required(f"{path}.namespace")]
    return [
        invalid(f"{path}.namespace", meta.namespace, problem)
        for problem in names.dns_label_problems(meta.namespace)
    ]


def _marks(meta: ObjectMeta, path: str) -> list[FieldError]:
    """Labels, annotations, owners and managers: checked alike on create and update."""
    found: list[FieldError] = []
    if meta.labels:
        found += validate_labels(meta.labels, f"{path}.labels")
    if meta.annotations:
        found += validate_annotations(meta.annotations, f"{path}.annotations")
    if meta.ownerReferences:
        found += _owner_references(meta.ownerReferences, f"{path}.ownerReferences")
    for index, entry in enumerate(meta.managedFields):
        found += _managed_fields(entry, f"{path}.managedFields[{index}]")
    return found


def validate_label_name(name: str, path: str) -> list[FieldError]:
    return [invalid(path, name, problem) for problem in names.label_key_problems(name)]


def validate_labels(labels: Mapping[str, str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for key in sorted(labels):
        found += validate_label_name(key, path)
        value = labels[key]
        found += [invalid(path, value, text) for text in names.label_value_problems(value)]
    return found


def validate_annotations(annotations: Mapping[str, str], path: str) -> list[FieldError]:
    """Case does not matter in the keys; all together they have a limit."""
    found: list[FieldError] = []
    size = 0
    for key, value in sorted(annotations.items()):
        found += [invalid(path, key, problem) for problem in names.label_key_problems(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_BYTES_MAX:
        found.append(too_long(path, ANNOTATIONS_BYTES_MAX))
    return found


def _owner_references(references: Iterable[OwnerReference], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    controller = ""
    listed = list(references)
    for reference in listed:
        found += _owner_reference(reference, path)
        if not reference.controller:
            continue
        name = f"{reference.kind}/{reference.name}"
        if controller:
            detail = (
                'Only one reference can have Controller set to true. Found "true" in references '
                f"for {controller} and {name}"
            )
            value: Any = [json_codec.to_json(each) for each in listed]
            found.append(invalid(path, value, detail))
        else:
            controller = name
    return found


def _owner_reference(reference: OwnerReference, path: str) -> list[FieldError]:
    found = [
        invalid(f"{path}.{name}", value, f"{what} must not be empty")
        for name, value, what in (
            ("apiVersion", reference.apiVersion, "version"),
            ("kind", reference.kind, "kind"),
            ("name", reference.name, "name"),
            ("uid", reference.uid, "uid"),
        )
        if not value
    ]
    if (reference.apiVersion, reference.kind) == ("v1", "Event"):
        detail = "/v1, Kind=Event is disallowed from being an owner"
        found.append(invalid(path, json_codec.to_json(reference), detail))
    return found


def _managed_fields(entry: ManagedFieldsEntry, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if entry.operation not in {"Apply", "Update"}:
        found.append(invalid(f"{path}.operation", entry.operation, "must be `Apply` or `Update`"))
    if entry.fieldsType not in {"", "FieldsV1"}:
        found.append(invalid(f"{path}.fieldsType", entry.fieldsType, "must be `FieldsV1`"))
    if len(entry.manager) > _MANAGER_LENGTH_MAX:
        found.append(too_long(f"{path}.manager", _MANAGER_LENGTH_MAX))
    if len(entry.subresource) > _SUBRESOURCE_LENGTH_MAX:
        found.append(too_long(f"{path}.subresource", _SUBRESOURCE_LENGTH_MAX))
    return found


def _finalizers(meta: ObjectMeta, path: str) -> list[FieldError]:
    if not meta.finalizers:
        return []
    found: list[FieldError] = []
    here = f"{path}.finalizers"
    for finalizer in meta.finalizers:
        found += validate_label_name(finalizer, here)
    if {"orphan", "foregroundDeletion"} <= set(meta.finalizers):
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        found.append(invalid(here, list(meta.finalizers), detail))
    return found + _standard_finalizers(meta, path)


def _standard_finalizers(meta: ObjectMeta, path: str) -> list[FieldError]:
    return [
        invalid(
            f"{path}.finalizers[{index}]",
            finalizer,
            "name is neither a standard finalizer name nor is it fully qualified",
        )
        for index, finalizer in enumerate(meta.finalizers)
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
    ]
