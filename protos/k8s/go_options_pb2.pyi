from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
GO_FIELD_NUMBER: _ClassVar[int]
go: _descriptor.FieldDescriptor

class GoField(_message.Message):
    __slots__ = ("pointer", "required", "inline", "patch_strategy", "patch_merge_key")
    POINTER_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    PATCH_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    PATCH_MERGE_KEY_FIELD_NUMBER: _ClassVar[int]
    pointer: bool
    required: bool
    inline: bool
    patch_strategy: str
    patch_merge_key: str
    def __init__(self, pointer: _Optional[bool] = ..., required: _Optional[bool] = ..., inline: _Optional[bool] = ..., patch_strategy: _Optional[str] = ..., patch_merge_key: _Optional[str] = ...) -> None: ...
