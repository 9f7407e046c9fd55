"""What a request asks for and nobody here does: refused by name, or said once by name.

Which fields those are is the backends' matter. This module finds what no code behind it could deal
with: values of enumerations, and fields, of a CRI that is newer than this one, and text with NUL,
which no path, argument or variable of a process can have.
"""

import logging
from collections.abc import Mapping

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from runtime_shim.errors import invalid

_log = logging.getLogger(__name__)


class Warnings:
    """Says each thing once in the life of the shim: a kubelet asks for the same again and again."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def ignored(self, fields: Mapping[str, str]) -> None:
        """`fields`: by name, why each has no effect."""
        for field, why in fields.items():
            if field not in self.said:
                self.said.add(field)
                _log.warning("a field has no effect", extra={"field": field, "why": why})


def check(message: Message, path: str, warnings: Warnings) -> None:
    """Refuses unknown enumeration values and NUL, warns of unknown fields. Raises: CriError."""
    if numbers := [field.field_number for field in UnknownFieldSet(message)]:  # type: ignore[attr-defined]
        name = message.DESCRIPTOR.full_name
        why = "this runtime's CRI does not have it"
        warnings.ignored({f"{name}, field {number}": why for number in numbers})
    for field, value in message.ListFields():
        here = f"{path}.{field.name}"
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = [text for pair in value.items() for text in pair]
        for part in value if field.is_repeated else (value,):
            if isinstance(part, Message):
                check(part, here, warnings)
            elif isinstance(part, str) and "\0" in part:
                raise invalid(f"{here}: text with NUL")
            elif field.enum_type and part not in field.enum_type.values_by_number:
                raise invalid(f"{here}: {field.enum_type.name} has no value {part}")
