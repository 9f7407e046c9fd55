"""Descriptors as sorted lines of text, one for each field, value and method.

The same form serves the field tables of upstream's contracts and the snapshot of our own.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from protos.k8s.go_options_pb2 import go

_TYPES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def lines_of(file: Any) -> list[str]:
    """All lines of one file's descriptor."""
    found: list[str] = []
    for message in file.message_types_by_name.values():
        found += _message_lines(message)
    for enum in file.enum_types_by_name.values():
        found += _enum_lines(enum)
    for service in file.services_by_name.values():
        for method in service.methods:
            found.append(
                f"rpc {service.full_name}/{method.name} "
                f"{'stream ' if method.client_streaming else ''}{method.input_type.full_name} -> "
                f"{'stream ' if method.server_streaming else ''}{method.output_type.full_name}"
            )
    return sorted(found)


def _message_lines(message: Any) -> Iterator[str]:
    if message.GetOptions().map_entry:
        return
    yield f"message {message.full_name}"
    for field in message.fields:
        form = f"{_form(field)}{_facts(field)}"
        yield f"field {message.full_name}.{field.name} = {field.number} {form}"
    for nested in message.nested_types:
        yield from _message_lines(nested)
    for enum in message.enum_types:
        yield from _enum_lines(enum)


def _enum_lines(enum: Any) -> Iterator[str]:
    for value in enum.values:
        yield f"value {enum.full_name}.{value.name} = {value.number}"


def _form(field: Any) -> str:
    target = field.message_type
    if target is not None and target.GetOptions().map_entry:
        key, value = (target.fields_by_name[name] for name in ("key", "value"))
        return f"map<{_type(key)}, {_type(value)}>"
    return f"{'repeated' if field.is_repeated else 'optional'} {_type(field)}"


def _type(field: Any) -> str:
    if field.message_type is not None:
        return str(field.message_type.full_name)
    if field.enum_type is not None:
        return str(field.enum_type.full_name)
    return _TYPES[field.type]


def _facts(field: Any) -> str:
    """What the Go options say. A slice can be nil too, but the tables call only pointers so."""
    facts = field.GetOptions().Extensions[go]
    is_slice = field.type == FieldDescriptor.TYPE_BYTES or _type(field).endswith(".Verbs")
    found = [
        name
        for name in ("pointer", "required", "inline")
        if getattr(facts, name) and not (is_slice and name == "pointer")
    ]
    if facts.patch_strategy:
        found.append(f"strategy={facts.patch_strategy}")
    if facts.patch_merge_key:
        found.append(f"key={facts.patch_merge_key}")
    return f" [{' '.join(found)}]" if found else ""
