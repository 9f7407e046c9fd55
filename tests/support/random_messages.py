"""Messages nobody would send: fields missing, unknown, malformed, enormous; from a descriptor."""

import random
from collections.abc import Sequence

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_UNKNOWN_FIELD = b"\xfa\x3f\x03odd"  # field 1023, which no message has
_TEXTS = ("", "a", "docker.io/podpath/busybox:latest", "../../etc", "\n\0", "\n", "-x", "ü" * 40)


def random_message(
    descriptor: Descriptor, dice: random.Random, known: Sequence[str] = (), depth: int = 0
) -> Message:
    """`known`: texts that mean something to the receiver, ids for example."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if dice.random() < 0.4 or depth > 6:
            continue
        kind = field.message_type
        if kind and kind.GetOptions().map_entry:
            getattr(message, field.name).update({_text(dice, known): _text(dice, known)})
        elif field.is_repeated:
            for _ in range(dice.choice((0, 1, 2))):
                if kind:
                    value = random_message(kind, dice, known, depth + 1)
                    getattr(message, field.name).add().CopyFrom(value)
                else:
                    getattr(message, field.name).append(_scalar(field, dice, known))
        elif kind:
            value = random_message(kind, dice, known, depth + 1)
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, _scalar(field, dice, known))
    if dice.random() < 0.1:
        message.MergeFromString(_UNKNOWN_FIELD)
    return message


def _text(dice: random.Random, known: Sequence[str]) -> str:
    if known and dice.random() < 0.5:
        return dice.choice(known)
    return dice.choice(_TEXTS) or "x" * dice.choice((1, 5000, 200_000))


def _scalar(field: FieldDescriptor, dice: random.Random, known: Sequence[str]) -> object:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = _text(dice, known)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return dice.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return dice.choice((0, 1, 2, 99))
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return dice.random()
    unsigned = kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return dice.choice((0, 1, 3, 2**31 - 1) if unsigned else (0, 1, 3, -1, 2**31 - 1))
