"""Responses put together from bytes are what protobuf would have written."""

import pytest

from apiserver import splice
from apiserver.storage.version import ObjectVersion
from apiserver.verbs.interface import ListResult, WatchEvent
from podpath.api import errors
from podpath.api.scheme import CONFIGMAPS
from protos.k8s.core_v1_pb2 import ConfigMap
from protos.k8s.meta_v1_pb2 import Status
from protos.podpath import apiserver_v1_pb2 as api


def version(name, size=0):
    obj = ConfigMap()
    obj.metadata.name = name
    obj.data["x"] = "x" * size
    return ObjectVersion(CONFIGMAPS, obj)


def name_of(unknown):
    return ConfigMap.FromString(unknown.raw).metadata.name


SIZES = [0, 100, 127, 128, 16_000, 20_000, 3_000_000]


def test_lists():
    items = [version(f"c{size}", size) for size in SIZES]
    response = api.ListResponse.FromString(splice.list_response(ListResult(items, "7", "t", 3)))
    assert [name_of(item) for item in response.items] == [f"c{size}" for size in SIZES]
    assert (response.resource_version, response.continue_token) == ("7", "t")
    assert response.remaining_item_count == 3


def test_watches():
    types = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    events = [WatchEvent(t, version(t, size)) for t in types for size in SIZES]
    response = api.WatchResponse.FromString(splice.watch_response(events))
    assert [api.WatchEventType.Name(e.type) for e in response.events] == [e.type for e in events]
    assert [name_of(e.object) for e in response.events] == [e.type for e in events]


def test_batches():
    success = Status(status="Success")
    results = [version("a", 300), errors.bad_request("no"), success.SerializeToString()]
    response = api.BatchResponse.FromString(splice.batch_response(results))
    first, second, third = response.results
    assert name_of(first.object) == "a"
    assert second.status.reason == "BadRequest"
    assert third.status == success


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 1 << 21, (1 << 32) + 5])
def test_varints_are_protobufs(value):
    message = api.ListRequest(limit=value)
    assert message.SerializeToString()[1:] == (splice.varint(value) if value else b"")
