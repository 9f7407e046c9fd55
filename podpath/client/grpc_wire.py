"""The gRPC client's connection, and objects on the wire."""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from podpath.api.errors import ApiError
from podpath.api.scheme import ObjectT, Resource
from podpath.client.kubeconfig import KubeConfig, KubeConfigError
from protos.k8s.runtime_pb2 import Unknown
from protos.podpath import apiserver_v1_pb2 as api

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Also the connect timeout: shorter ones fail under load.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.use_local_subchannel_pool", 1),
)

Item = tuple[Resource[Any], Any]


def open_channel(config: KubeConfig) -> grpc.aio.Channel:
    if not config.grpc_address:
        raise KubeConfigError(
            "the kubeconfig's cluster has no gRPC door: extension podpath.io/grpc is missing"
        )
    if config.insecure_skip_tls_verify:
        raise KubeConfigError(
            "insecure-skip-tls-verify: not possible over gRPC; set the cluster's CA"
        )
    credentials = grpc.ssl_channel_credentials(
        config.ca or None, config.key or None, config.cert or None
    )
    options = list(_OPTIONS)
    if config.tls_server_name:
        options.append(("grpc.ssl_target_name_override", config.tls_server_name))  # type: ignore[arg-type]
    address = config.grpc_address if config.cert else config.grpc_token_address
    address = address or config.grpc_address
    return grpc.aio.secure_channel(address, credentials, options=options)


def serialize(message: Message) -> bytes:
    return message.SerializeToString()


def meta_of(obj: Any) -> Any:
    return obj.metadata


def ref(resource: Resource[Any]) -> api.ResourceRef:
    return api.ResourceRef(group=resource.group, version=resource.version, resource=resource.name)


def encode(resource: Resource[Any], obj: Message) -> Unknown:
    unknown = Unknown(raw=obj.SerializeToString())
    # A subresource may take another kind (Binding, Eviction, TokenRequest): it has no type here.
    if isinstance(obj, resource.message):
        unknown.typeMeta.apiVersion = resource.api_version
        unknown.typeMeta.kind = resource.kind
    return unknown


def decode(resource: Resource[ObjectT], unknown: Unknown) -> ObjectT:
    return resource.message.FromString(unknown.raw)


def decode_as(message: type[ObjectT], unknown: Unknown) -> ObjectT:
    return message.FromString(unknown.raw)


def results_of(items: Sequence[Item], response: api.BatchResponse) -> list[Any]:
    return [
        ApiError(result.status)
        if result.WhichOneof("result") == "status"
        else decode(item[0], result.object)
        for item, result in zip(items, response.results, strict=True)
    ]
