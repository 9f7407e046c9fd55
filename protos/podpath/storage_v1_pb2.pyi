from protos.k8s import runtime_pb2 as _runtime_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StoredUnknown(_message.Message):
    __slots__ = ("typeMeta", "raw", "contentEncoding", "contentType", "groupIndex")
    TYPEMETA_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    CONTENTENCODING_FIELD_NUMBER: _ClassVar[int]
    CONTENTTYPE_FIELD_NUMBER: _ClassVar[int]
    GROUPINDEX_FIELD_NUMBER: _ClassVar[int]
    typeMeta: _runtime_pb2.TypeMeta
    raw: bytes
    contentEncoding: str
    contentType: str
    groupIndex: int
    def __init__(self, typeMeta: _Optional[_Union[_runtime_pb2.TypeMeta, _Mapping]] = ..., raw: _Optional[bytes] = ..., contentEncoding: _Optional[str] = ..., contentType: _Optional[str] = ..., groupIndex: _Optional[int] = ...) -> None: ...
