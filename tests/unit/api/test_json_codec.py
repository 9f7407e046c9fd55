import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpath.api import go_text, json_codec, scheme
from protos.k8s.apps_v1_pb2 import Deployment
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.core_v1_pb2 import Pod, Secret
from protos.k8s.meta_v1_pb2 import Status

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)
LABELS = st.dictionaries(TEXTS, TEXTS, max_size=4)
QUANTITIES = st.sampled_from(["1", "250m", "1Gi", "1500m", "10e3"])


def compact(tree):
    """Without the keys that say nothing."""
    return {key: value for key, value in tree.items() if value not in ({}, [], None, "")}


@given(
    name=TEXTS,
    labels=LABELS,
    limits=st.dictionaries(st.sampled_from(["cpu", "memory", "a.b/c"]), QUANTITIES),
    port=st.integers(-(2**31), 2**31 - 1) | TEXTS.filter(bool),
    seconds=st.integers(-62135596799, 253402300799),
    grace=st.none() | st.integers(-(2**63), 2**63 - 1),
    tty=st.booleans(),
    args=st.lists(TEXTS, max_size=3),
)
def test_round_trip(name, labels, limits, port, seconds, grace, tty, args):
    container = {
        "name": name,
        "resources": {"limits": limits} if limits else {},
        "livenessProbe": {"httpGet": {"port": port}},
    }
    container |= {"tty": True} if tty else {}
    container |= {"args": args} if args else {}
    spec = {"containers": [container]}
    spec |= {} if grace is None else {"terminationGracePeriodSeconds": grace}
    tree = {
        "metadata": {"creationTimestamp": go_text.time_text(seconds)},
        "spec": spec,
        "status": {},
    }
    tree["metadata"] |= {"labels": labels} if labels else {}
    decoded = json_codec.from_json(Pod, tree)
    assert decoded.unknown_fields == ()
    assert json_codec.to_json(decoded.message) == tree
    again = json_codec.from_json(Pod, json_codec.to_json(decoded.message)).message
    assert again == decoded.message


@given(st.dictionaries(TEXTS, st.binary(max_size=300), max_size=3))
def test_bytes_round_trip(data):
    secret = Secret(data=data)
    tree = json_codec.to_json(secret)
    assert dict(json_codec.from_json(Secret, tree).message.data) == data


@given(st.integers(-62135596799, 253402300799), st.integers(0, 999_999))
def test_micro_time_round_trip(seconds, micros):
    lease = json_codec.new(Lease)
    lease.spec.renewTime.seconds = seconds
    lease.spec.renewTime.nanos = micros * 1000
    again = json_codec.from_json(Lease, json_codec.to_json(lease)).message
    assert again == lease


@pytest.mark.parametrize(
    ("message", "tree", "shown"),
    [
        pytest.param(
            Pod, {"metadata": {"name": None, "labels": {"a": None}}, "spec": None},
            {"metadata": {"labels": {"a": ""}, "creationTimestamp": None},
             "spec": {"containers": None}, "status": {}},
            id="null is the zero value",
        ),
        pytest.param(
            Pod, {"spec": {"containers": [{"name": "c", "args": [None, "x"]}, None]}},
            {"metadata": {"creationTimestamp": None}, "status": {},
             "spec": {"containers": [{"name": "c", "args": ["", "x"], "resources": {}},
                                     {"name": "", "resources": {}}]}},
            id="null in lists",
        ),
        pytest.param(
            Pod, {"spec": {"overhead": {"cpu": 0.5, "memory": 1024, "x": None}}},
            {"metadata": {"creationTimestamp": None}, "status": {},
             "spec": {"containers": None,
                      "overhead": {"cpu": "500m", "memory": "1024", "x": "0"}}},
            id="quantities as numbers",
        ),
        pytest.param(
            Pod, {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}},
            {"metadata": {"creationTimestamp": None}, "status": {},
             "spec": {"containers": None,
                      "volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}},
            id="inlined structs",
        ),
        pytest.param(
            Deployment,
            {"spec": {"selector": None, "strategy": {"rollingUpdate": {"maxSurge": "25%",
                                                                       "maxUnavailable": 1}}}},
            {"metadata": {"creationTimestamp": None}, "status": {},
             "spec": {"selector": None,
                      "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
                      "template": {"metadata": {"creationTimestamp": None},
                                   "spec": {"containers": None}}}},
            id="int or string, nil pointer",
        ),
        pytest.param(Status, {"kind": "Status", "apiVersion": "v1", "code": 404},
                     {"metadata": {}, "code": 404}, id="kind is the envelope's"),
    ],
)  # fmt: skip
def test_decoding(message, tree, shown):
    decoded = json_codec.from_json(message, tree)
    assert decoded.unknown_fields == ()
    assert json_codec.to_json(decoded.message) == shown


def test_unknown_fields_are_named():
    tree = {
        "spec": {"foo": 1, "containers": [{"nam": "x", "resources": {"limts": {}}}]},
        "bar": 2,
        "metadata": {"kind": "x"},
    }
    assert json_codec.from_json(Pod, tree).unknown_fields == (
        "spec.foo",
        "spec.containers[0].nam",
        "spec.containers[0].resources.limts",
        "bar",
        "metadata.kind",
    )


def test_objects_carry_their_kind_first():
    raw = json_codec.json_bytes(scheme.DEPLOYMENTS, Deployment())
    assert raw.startswith(b'{"kind":"Deployment","apiVersion":"apps/v1","metadata":{')


def test_a_message_made_by_hand_is_brought_to_upstreams_bytes():
    pod = Pod()
    pod.metadata.name = "p"
    pod.spec.containers.add(name="c")
    tree = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
    assert json_codec.normalised(pod) == json_codec.from_json(Pod, tree).message
    assert json_codec.normalised(pod) != pod
