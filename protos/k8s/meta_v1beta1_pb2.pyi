from protos.k8s import meta_v1_pb2 as _meta_v1_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PartialObjectMetadataList(_message.Message):
    __slots__ = ("items", "metadata")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[_meta_v1_pb2.PartialObjectMetadata]
    metadata: _meta_v1_pb2.ListMeta
    def __init__(self, items: _Optional[_Iterable[_Union[_meta_v1_pb2.PartialObjectMetadata, _Mapping]]] = ..., metadata: _Optional[_Union[_meta_v1_pb2.ListMeta, _Mapping]] = ...) -> None: ...
