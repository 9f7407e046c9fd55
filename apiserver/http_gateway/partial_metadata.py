"""Objects cut down to their metadata, as garbage collectors and quota controllers watch them.

Source: k8s.io/apimachinery pkg/apis/meta/v1 PartialObjectMetadata.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from apiserver.http_gateway.negotiation import PROTOBUF
from apiserver.http_gateway.responses import list_metadata, tree_bytes, wrap_unknown
from apiserver.verbs.interface import ListResult, Version
from podpath.api import json_codec
from podpath.api.wire import framed, tag
from protos.k8s.meta_v1_pb2 import ListMeta, ObjectMeta

API_VERSION = "meta.k8s.io/v1"
KIND = "PartialObjectMetadata"
LIST_KIND = "PartialObjectMetadataList"
_FIELD_1 = tag(1, 2)
_FIELD_2 = tag(2, 2)


def metadata_of(version: Version) -> ObjectMeta:
    metadata: ObjectMeta = version.object.metadata  # type: ignore[attr-defined]
    return metadata


def partial_tree(version: Version) -> dict[str, Any]:
    return {
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": json_codec.to_json(metadata_of(version)),
    }


def partial_json(version: Version) -> bytes:
    return orjson.dumps(partial_tree(version))


def partial_unknown(version: Version) -> bytes:
    """The bytes of an Unknown, without the magic."""
    return wrap_unknown(API_VERSION, KIND, _partial_raw(version))[4:]


def _partial_raw(version: Version) -> bytes:
    return framed(_FIELD_1, metadata_of(version).SerializeToString())


def object_bytes(version: Version, media_type: str) -> bytes:
    if media_type == PROTOBUF:
        return wrap_unknown(API_VERSION, KIND, _partial_raw(version))
    return tree_bytes(partial_tree(version), media_type)


def list_bytes(result: ListResult, media_type: str) -> bytes:
    if media_type == PROTOBUF:
        return wrap_unknown(API_VERSION, LIST_KIND, _list_raw(result, result.items))
    tree = {
        "kind": LIST_KIND,
        "apiVersion": API_VERSION,
        "metadata": list_metadata(result),
        "items": [partial_tree(version) for version in result.items],
    }
    return tree_bytes(tree, media_type)


def _list_raw(result: ListResult, items: Iterable[Version]) -> bytes:
    metadata = ListMeta(selfLink="", resourceVersion=result.resource_version)
    setattr(metadata, "continue", result.continue_token)
    if result.remaining_item_count is not None:
        metadata.remainingItemCount = result.remaining_item_count
    parts = [framed(_FIELD_1, metadata.SerializeToString())]
    parts += (framed(_FIELD_2, _partial_raw(version)) for version in items)
    return b"".join(parts)
