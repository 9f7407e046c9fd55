import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from protos.k8s import core_v1_pb2 as _core_v1_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("uid", "name")
    UID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    uid: str
    name: PodName
    def __init__(self, uid: _Optional[str] = ..., name: _Optional[_Union[PodName, _Mapping]] = ...) -> None: ...

class PodName(_message.Message):
    __slots__ = ("namespace", "name")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ExplainWhatIfRequest(_message.Message):
    __slots__ = ("pod",)
    POD_FIELD_NUMBER: _ClassVar[int]
    pod: _core_v1_pb2.Pod
    def __init__(self, pod: _Optional[_Union[_core_v1_pb2.Pod, _Mapping]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("pod", "uid", "decided_at", "profile", "attempts", "node", "evaluated_nodes", "feasible_nodes", "message", "scores", "rejections", "chosen_among", "preemption")
    POD_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_NODES_FIELD_NUMBER: _ClassVar[int]
    FEASIBLE_NODES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_AMONG_FIELD_NUMBER: _ClassVar[int]
    PREEMPTION_FIELD_NUMBER: _ClassVar[int]
    pod: PodName
    uid: str
    decided_at: _timestamp_pb2.Timestamp
    profile: str
    attempts: int
    node: str
    evaluated_nodes: int
    feasible_nodes: int
    message: str
    scores: _containers.RepeatedCompositeFieldContainer[NodeScore]
    rejections: _containers.RepeatedCompositeFieldContainer[Rejection]
    chosen_among: _containers.RepeatedScalarFieldContainer[str]
    preemption: Preemption
    def __init__(self, pod: _Optional[_Union[PodName, _Mapping]] = ..., uid: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., profile: _Optional[str] = ..., attempts: _Optional[int] = ..., node: _Optional[str] = ..., evaluated_nodes: _Optional[int] = ..., feasible_nodes: _Optional[int] = ..., message: _Optional[str] = ..., scores: _Optional[_Iterable[_Union[NodeScore, _Mapping]]] = ..., rejections: _Optional[_Iterable[_Union[Rejection, _Mapping]]] = ..., chosen_among: _Optional[_Iterable[str]] = ..., preemption: _Optional[_Union[Preemption, _Mapping]] = ...) -> None: ...

class NodeScore(_message.Message):
    __slots__ = ("node", "total", "plugins")
    NODE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PLUGINS_FIELD_NUMBER: _ClassVar[int]
    node: str
    total: int
    plugins: _containers.RepeatedCompositeFieldContainer[PluginScore]
    def __init__(self, node: _Optional[str] = ..., total: _Optional[int] = ..., plugins: _Optional[_Iterable[_Union[PluginScore, _Mapping]]] = ...) -> None: ...

class PluginScore(_message.Message):
    __slots__ = ("plugin", "raw", "normalized", "weight", "weighted")
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_FIELD_NUMBER: _ClassVar[int]
    plugin: str
    raw: int
    normalized: int
    weight: int
    weighted: int
    def __init__(self, plugin: _Optional[str] = ..., raw: _Optional[int] = ..., normalized: _Optional[int] = ..., weight: _Optional[int] = ..., weighted: _Optional[int] = ...) -> None: ...

class Rejection(_message.Message):
    __slots__ = ("plugin", "code", "reasons", "nodes")
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    plugin: str
    code: str
    reasons: _containers.RepeatedScalarFieldContainer[str]
    nodes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, plugin: _Optional[str] = ..., code: _Optional[str] = ..., reasons: _Optional[_Iterable[str]] = ..., nodes: _Optional[_Iterable[str]] = ...) -> None: ...

class Preemption(_message.Message):
    __slots__ = ("nominated_node", "victims")
    NOMINATED_NODE_FIELD_NUMBER: _ClassVar[int]
    VICTIMS_FIELD_NUMBER: _ClassVar[int]
    nominated_node: str
    victims: _containers.RepeatedCompositeFieldContainer[PodName]
    def __init__(self, nominated_node: _Optional[str] = ..., victims: _Optional[_Iterable[_Union[PodName, _Mapping]]] = ...) -> None: ...
