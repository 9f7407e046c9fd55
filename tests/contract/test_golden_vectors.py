"""Upstream's golden vectors: bytes, JSON, and the way between them, exactly."""

import importlib
import json
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message_factory import GetMessageClass

from apiserver.defaulting import set_defaults
from podpath.api import json_codec, objects, scheme
from protos.k8s.authentication_v1_pb2 import TokenRequest
from protos.k8s.runtime_pb2 import Unknown

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[2]

for stub in ROOT.glob("protos/*/*_pb2.py"):
    importlib.import_module(f"protos.{stub.parent.name}.{stub.stem}")


def vectors(*names):
    found = []
    for name in names:
        for vector in json.loads((DATA / f"{name}.json").read_text()):
            kind = vector.get("type", vector.get("input", {}).get("kind"))
            found.append(pytest.param(vector, id=f"{kind}/{vector['name']}"))
    return found


OTHER_MAP_ORDER = set(
    json.loads((DATA / "index.json").read_text())["map_order_differs_in_python_upb"]
)


def message_class(vector):
    pool = descriptor_pool.Default()
    return GetMessageClass(pool.FindMessageTypeByName(vector["type"]))


def without_type(vector):
    """The JSON form without what protobuf keeps in the envelope."""
    fields = message_class(vector).DESCRIPTOR.fields_by_name
    return {
        key: value
        for key, value in vector["json"].items()
        if key not in {"kind", "apiVersion"} or key in fields
    }


@pytest.mark.parametrize(
    "vector", vectors("k8s-samples", "k8s-zero", "cri-samples", "etcd-samples")
)
def test_bytes_decode_and_encode_to_the_same(vector):
    raw = bytes.fromhex(vector["hex"])
    message = message_class(vector).FromString(raw)
    again = message.SerializeToString(deterministic=True)
    if f"{vector['type']}/{vector['name']}" in OTHER_MAP_ORDER:
        assert sorted(again) == sorted(raw)
        assert message_class(vector).FromString(again) == message
    else:
        assert again == raw


@pytest.mark.parametrize("vector", vectors("k8s-samples", "k8s-zero"))
def test_messages_become_upstreams_json(vector):
    message = message_class(vector).FromString(bytes.fromhex(vector["hex"]))
    expected = without_type(vector)
    if expected.get("items") == []:
        # Protobuf cannot tell an empty list from none; a served list is put together by the door.
        expected["items"] = None
    assert json_codec.to_json(message) == expected


@pytest.mark.parametrize("vector", vectors("k8s-samples", "k8s-zero"))
def test_json_becomes_upstreams_bytes(vector):
    decoded = json_codec.from_json(message_class(vector), vector["json"])
    assert decoded.unknown_fields == ()
    original = message_class(vector).FromString(bytes.fromhex(vector["hex"]))
    expected = original.SerializeToString(deterministic=True)
    assert decoded.message.SerializeToString(deterministic=True) == expected


@pytest.mark.parametrize("vector", vectors("cri-samples", "etcd-samples"))
def test_json_of_other_contracts(vector):
    message = message_class(vector).FromString(bytes.fromhex(vector["hex"]))
    from_json = json_format.ParseDict(vector["json"], message_class(vector)())
    assert from_json == message


@pytest.mark.parametrize("vector", vectors("k8s-samples"))
def test_envelopes(vector):
    raw = bytes.fromhex(vector["envelope_hex"])
    assert raw.startswith(b"k8s\0")
    unknown = Unknown.FromString(raw[4:])
    ours = objects.envelope(vector["apiVersion"], vector["kind"], bytes.fromhex(vector["hex"]))
    assert ours == unknown
    assert ours.SerializeToString() == raw[4:]


@pytest.mark.parametrize("vector", vectors("k8s-defaulting"))
def test_defaulting(vector):
    api_version, kind = vector["input"]["apiVersion"], vector["input"]["kind"]
    is_token = kind == "TokenRequest"
    message_type = TokenRequest if is_token else scheme.by_kind(api_version, kind).message
    message = json_codec.from_json(message_type, vector["input"]).message
    set_defaults(api_version, kind, message)
    assert json_codec.to_json_object((api_version, kind), message) == vector["defaulted"]
    expected = json_codec.from_json(message_type, vector["defaulted"]).message
    assert message == expected
    set_defaults(api_version, kind, message)
    assert message == expected
