import pytest

from podpath.api import objects, scheme
from podpath.api.errors import ApiError
from protos.k8s.apps_v1_pb2 import ReplicaSet
from protos.k8s.core_v1_pb2 import Pod


def pod():
    found = Pod()
    found.metadata.name = "p"
    found.metadata.namespace = "ns"
    found.metadata.uid = "u"
    return found


@pytest.mark.parametrize("content_type", ["", "application/json"])
def test_envelopes_hold_objects(content_type):
    unknown = objects.encode(scheme.PODS, pod(), content_type)
    assert (unknown.typeMeta.kind, unknown.contentType) == ("Pod", content_type)
    resource, message = objects.decode(unknown)
    assert resource is scheme.PODS
    assert objects.namespaced_key(message) == "ns/p"


@pytest.mark.parametrize(
    ("api_version", "kind", "raw", "content_type"),
    [
        pytest.param("v1", "Nope", b"", "", id="unknown kind"),
        pytest.param("v1", "Node", b"", "", id="another kind"),
        pytest.param("v1", "Pod", b"\xff", "", id="no protobuf"),
        pytest.param("v1", "Pod", b"{", "application/json", id="no JSON"),
        pytest.param("v1", "Pod", b'{"spec":5}', "application/json", id="JSON of another type"),
        pytest.param("v1", "Pod", b"", "application/cbor", id="unknown content type"),
    ],
)
def test_bad_envelopes(api_version, kind, raw, content_type):
    unknown = objects.envelope(api_version, kind, raw, content_type)
    with pytest.raises(ApiError) as raised:
        objects.decode_as(scheme.PODS, unknown)
    assert raised.value.reason == "BadRequest"


def test_an_envelope_without_a_type_holds_what_was_asked_for():
    unknown = objects.envelope("", "", pod().SerializeToString())
    assert objects.decode_as(scheme.PODS, unknown) == pod()


def test_owners():
    owner = ReplicaSet()
    owner.metadata.name, owner.metadata.uid = "rs", "1"
    owned = pod()
    assert objects.controller_of(owned) is None
    owned.metadata.ownerReferences.add(name="other", uid="2")
    owned.metadata.ownerReferences.append(objects.controller_reference(scheme.REPLICASETS, owner))
    assert objects.controller_of(owned).name == "rs"
    assert objects.is_controlled_by(owned, owner)
    reference = owned.metadata.ownerReferences[1]
    assert (reference.apiVersion, reference.kind) == ("apps/v1", "ReplicaSet")
    assert reference.blockOwnerDeletion


def test_keys():
    assert objects.split_key("ns/p") == ("ns", "p")
    assert objects.split_key("n") == ("", "n")


def test_references():
    reference = objects.reference_to(scheme.PODS, pod(), "spec.containers{c}")
    assert (reference.kind, reference.uid, reference.fieldPath) == (
        "Pod",
        "u",
        "spec.containers{c}",
    )


def test_copies_are_apart():
    first = pod()
    second = objects.copy_of(first)
    second.metadata.name = "q"
    assert first.metadata.name == "p"
