import pytest

from podpath.api import field_selectors, fields, scheme, selectors
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Event, Pod
from protos.k8s.meta_v1_pb2 import LabelSelector
from tests.support.answers import answers


@pytest.mark.parametrize(("kind", "text", "message"), answers("selectors"))
def test_texts_and_errors_as_upstream(kind, text, message):
    parse = fields.parse_labels if kind == "labelSelector" else parse_pod_fields
    if message is None:
        parse(text)
    else:
        with pytest.raises(ApiError) as raised:
            parse(text)
        assert (raised.value.reason, raised.value.status.message) == ("BadRequest", message)


def parse_pod_fields(text):
    return fields.parse(scheme.PODS, text)


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        pytest.param("", {}, True, id="everything"),
        pytest.param("a=b", {"a": "b"}, True, id="equal"),
        pytest.param("a==b", {"a": "c"}, False, id="another value"),
        pytest.param("a=b", {}, False, id="no such label"),
        pytest.param("a!=b", {"a": "b"}, False, id="not equal, but is"),
        pytest.param("a!=b", {}, True, id="not equal without the label"),
        pytest.param("a in (b, c)", {"a": "c"}, True, id="in"),
        pytest.param("a in (b, c)", {"a": "d"}, False, id="not in the set"),
        pytest.param("a notin (b)", {}, True, id="notin without the label"),
        pytest.param("a notin (b)", {"a": "b"}, False, id="notin, but is in"),
        pytest.param("a", {"a": ""}, True, id="exists"),
        pytest.param("!a", {"a": ""}, False, id="does not exist, but does"),
        pytest.param("!a", {}, True, id="does not exist"),
        pytest.param("a>5", {"a": "6"}, True, id="greater"),
        pytest.param("a<5", {"a": "6"}, False, id="less, but is greater"),
        pytest.param("a>5", {"a": "x"}, False, id="no number"),
        pytest.param("a=", {"a": ""}, True, id="empty value"),
        pytest.param("a=b,c=d", {"a": "b"}, False, id="all must hold"),
        pytest.param("in in (in)", {"in": "in"}, True, id="words are only words"),
    ],
)
def test_labels(text, labels, matches):
    assert selectors.parse(text).matches(labels) is matches
    assert selectors.parse(str(selectors.parse(text))).matches(labels) is matches


def test_selectors_in_objects():
    selector = LabelSelector(matchLabels={"a": "b"})
    selector.matchExpressions.add(key="c", operator="In", values=["d", "e"])
    found = selectors.from_message(selector)
    assert found.matches({"a": "b", "c": "e"})
    assert not found.matches({"a": "b"})
    assert selectors.from_message(LabelSelector()).matches({"x": "y"})
    assert not selectors.from_message(None).matches({"x": "y"})
    selector.matchExpressions.add(key="c", operator="Nope")
    with pytest.raises(selectors.SelectorError):
        selectors.from_message(selector)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        pytest.param("spec.nodeName=n1", True, id="equal"),
        pytest.param("spec.nodeName!=n1", False, id="not equal"),
        pytest.param("spec.hostNetwork=false", True, id="bool"),
        pytest.param("status.podIPs=1.1.1.1\\,2.2.2.2", True, id="list, escaped comma"),
        pytest.param("metadata.name=p,status.phase=Running", False, id="all must hold"),
    ],
)
def test_fields(text, matches):
    pod = Pod()
    pod.metadata.name = "p"
    pod.spec.nodeName = "n1"
    pod.status.podIPs.add(ip="1.1.1.1")
    pod.status.podIPs.add(ip="2.2.2.2")
    selector = fields.parse(scheme.PODS, text)
    assert fields.matches(scheme.PODS, pod, selector) is matches
    assert selector.matches(fields.field_values(scheme.PODS, pod, selector)) is matches


def test_fields_of_events():
    event = Event()
    event.involvedObject.uid = "u"
    event.source.component = "kubelet"
    selector = fields.parse(scheme.EVENTS, "involvedObject.uid=u,source=kubelet")
    assert fields.matches(scheme.EVENTS, event, selector)


@pytest.mark.parametrize("resource", list(scheme.resources()), ids=repr)
def test_every_selectable_field_can_be_read(resource):
    for field in fields.selectable_fields(resource):
        selector = fields.parse(resource, f"{field}=x")
        assert fields.matches(resource, resource.message(), selector) is False


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        pytest.param(scheme.NODES, "field label not supported: a", id="core"),
        pytest.param(scheme.JOBS, 'field label "a" not supported for Job', id="Job"),
        pytest.param(
            scheme.DEPLOYMENTS,
            '"a" is not a known field selector: only "metadata.name", "metadata.namespace"',
            id="default",
        ),
    ],
)
def test_unsupported_fields(resource, message):
    with pytest.raises(ApiError) as raised:
        fields.parse(resource, "a=b")
    assert raised.value.status.message == message


def test_exact():
    selector = field_selectors.parse("spec.nodeName=n1,a!=b")
    assert selector.exact("spec.nodeName") == "n1"
    assert selector.exact("a") is None
