"""What upstream's Go structs say about each field of a message, read from the descriptors.

One place where the converters (`json_codec.py`), strategic merge patch and the OpenAPI document
learn a field's JSON key, whether its Go form is a pointer, and how lists merge.

Source: the struct tags of k8s.io/api, kept in the .proto files as (podpath.k8s.go).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from protos.k8s.go_options_pb2 import go

_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_SPECIAL_NAMES = {
    f"{_META}Time": "time",
    f"{_META}MicroTime": "micro_time",
    f"{_META}Duration": "duration",
    f"{_META}FieldsV1": "raw",
    "k8s.io.apimachinery.pkg.runtime.RawExtension": "raw",
    "k8s.io.apimachinery.pkg.api.resource.Quantity": "quantity",
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": "int_or_string",
    f"{_META}Verbs": "items",
    "k8s.io.api.authentication.v1.ExtraValue": "items",
    "k8s.io.api.authorization.v1.ExtraValue": "items",
    "k8s.io.api.certificates.v1.ExtraValue": "items",
}
_SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "int32",
    FieldDescriptor.TYPE_UINT64: "int64",
}
# Messages that hold metadata, but whose Go struct has no kind and apiVersion.
_WITHOUT_TYPE_META = {"PodTemplateSpec", "JobTemplateSpec", "PersistentVolumeClaimTemplate"}


_T = TypeVar("_T")


def per_message(make: Callable[[type[Message]], _T]) -> Callable[[type[Message]], _T]:
    """Keeps what `make` made of a message class; the classes are few and live for ever."""
    made: dict[type[Message], _T] = {}

    def get(message: type[Message]) -> _T:
        found = made.get(message)
        if found is None:
            found = made[message] = make(message)
        return found

    get.__doc__ = make.__doc__
    return get


@dataclass(frozen=True, slots=True)
class GoField:
    """One field. `kind` is a scalar's name (`string`, `bytes`, `bool`, `int32`, `int64`),
    `message`, or a special form (`time`, `micro_time`, `duration`, `raw`, `quantity`,
    `int_or_string`, `items`). For a map it is the kind of the values."""

    name: str
    json_name: str
    number: int
    kind: str
    message: type[Message] | None
    repeated: bool
    map: bool
    pointer: bool
    required: bool
    inline: bool
    patch_strategies: frozenset[str]
    patch_merge_key: str

    @property
    def always_written(self) -> bool:
        """True if upstream's protobuf encoder writes the field even when it is zero."""
        return not (self.repeated or self.map or self.pointer or self.kind == "bytes")


@per_message
def go_fields(message: type[Message]) -> tuple[GoField, ...]:
    """The fields of a message class in the order of their numbers; inlined ones stay nested."""
    descriptor = message.DESCRIPTOR
    return tuple(
        _go_field(field) for field in sorted(descriptor.fields, key=lambda field: field.number)
    )


@per_message
def json_fields(message: type[Message]) -> dict[str, GoField]:
    """The fields by JSON key, as one JSON object shows them: inlined messages' keys included."""
    found: dict[str, GoField] = {}
    for field in go_fields(message):
        if field.inline and field.message is not None:
            found |= json_fields(field.message)
        else:
            found[field.json_name] = field
    return found


@per_message
def has_type_meta(message: type[Message]) -> bool:
    """True if the JSON form may say `kind` and `apiVersion`, which protobuf keeps outside."""
    descriptor = message.DESCRIPTOR
    metadata = descriptor.fields_by_name.get("metadata")
    return (
        metadata is not None
        and metadata.message_type is not None
        and metadata.message_type.full_name in {f"{_META}ObjectMeta", f"{_META}ListMeta"}
        and descriptor.name not in _WITHOUT_TYPE_META
    )


def special_kind(descriptor: Descriptor) -> str:
    """The special JSON form of a message, `message` if it has none."""
    return _SPECIAL_NAMES.get(descriptor.full_name, "message")


def _go_field(field: Any) -> GoField:
    facts = field.GetOptions().Extensions[go]
    value = field
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if is_map:
        value = field.message_type.fields_by_name["value"]
    kind, message = _kind(value)
    return GoField(
        name=field.name,
        json_name=field.json_name,
        number=field.number,
        kind=kind,
        message=message,
        repeated=field.is_repeated and not is_map,
        map=is_map,
        pointer=facts.pointer,
        required=facts.required,
        inline=facts.inline,
        patch_strategies=frozenset(filter(None, facts.patch_strategy.split(","))),
        patch_merge_key=facts.patch_merge_key,
    )


def _kind(field: Any) -> tuple[str, type[Message] | None]:
    if field.message_type is None:
        return _SCALARS[field.type], None
    return special_kind(field.message_type), GetMessageClass(field.message_type)
