import itertools

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind

from podpath.component_base import pod_spans
from podpath.component_base.pod_spans import CREATION_LIMIT_S, SpanBuilder
from podpath.component_base.pod_trace import PodStep, Stamp
from podpath.component_base.traceparent import Traceparent

ROOT = Traceparent(0xA, 0xB)
MS = 1_000_000
NOW = 10_000 * MS

APISERVER = [
    (PodStep.REQUEST_RECEIVED, ""),
    (PodStep.AUTHORIZED, "admin"),
    (PodStep.ADMITTED, ""),
    (PodStep.VALIDATED, ""),
    (PodStep.STORE, ""),
    (PodStep.STORED, "7"),
    (PodStep.RESPONDED, "default/hello"),
    (PodStep.BOUND, "node-1"),
    (PodStep.STATUS_RUNNING, "9"),
]
KUBELET = [
    (PodStep.KUBELET_SAW, "node-1"),
    (PodStep.VOLUMES_READY, "1 volumes"),
    (PodStep.CRI_REQUEST, "attempt 0"),
    (PodStep.RUNTIME_SEEN, "1 containers run"),
]


def builder(creation_ends_with: PodStep = PodStep.STATUS_RUNNING) -> SpanBuilder:
    resource = Resource({"service.name": "apiserver"})
    return SpanBuilder(resource, itertools.count(100).__next__, creation_ends_with)


def stamps(steps, uid="u", context=ROOT, at_ns=NOW):
    """A millisecond apart."""
    return [
        Stamp(step, uid, at_ns + i * MS, decision, str(context))
        for i, (step, decision) in enumerate(steps)
    ]


def by_name(spans):
    return {span.name: span for span in spans}


def milliseconds(span):
    return ((span.start_time - NOW) / MS, (span.end_time - NOW) / MS)


def test_a_creation_is_one_root_with_a_child_for_each_step():
    spans = by_name(builder().build(stamps(APISERVER), NOW))
    assert len(spans) == len(APISERVER) + 1
    root = spans.pop("pod creation")
    assert (root.context.trace_id, root.context.span_id) == (0xA, 0xB)
    assert root.parent is None
    assert root.kind is SpanKind.SERVER
    assert milliseconds(root) == (0, 8)
    assert root.attributes == {
        "k8s.pod.uid": "u",
        "k8s.namespace.name": "default",
        "k8s.pod.name": "hello",
    }
    assert {(s.context.trace_id, s.parent.span_id) for s in spans.values()} == {(0xA, 0xB)}
    assert len({s.context.span_id for s in spans.values()}) == len(spans)
    assert all(s.context.trace_flags.sampled for s in spans.values())
    assert spans["11 etcd holds the assignment"].attributes == {
        "k8s.pod.uid": "u",
        "podpath.step": "11",
        "podpath.decision": "node-1",
    }


@pytest.mark.parametrize(
    ("steps", "name", "expected"),
    [
        pytest.param(APISERVER, "1 the client's request arrives", (0, 0), id="the first"),
        pytest.param(APISERVER, "6 etcd confirmed", (4, 5), id="since the step before"),
        pytest.param(APISERVER, "11 etcd holds the assignment", (7, 7), id="others came between"),
        pytest.param(KUBELET, "12 the kubelet sees its Pod", (0, 0), id="takes over"),
        pytest.param(KUBELET, "14 the kubelet asks the runtime", (1, 2), id="goes on"),
    ],
)
def test_how_long_a_step_takes(steps, name, expected):
    assert milliseconds(by_name(builder().build(stamps(steps), NOW))[name]) == expected


def test_steps_may_come_in_several_rounds_and_pods_at_once():
    made, spans = builder(), []
    first, second = stamps(APISERVER), stamps(APISERVER, "v", Traceparent(0xC, 0xD))
    for pair in zip(first, second, strict=True):
        spans += made.build(pair, NOW)
    for trace_id in (0xA, 0xC):
        own = by_name([s for s in spans if s.context.trace_id == trace_id])
        assert len(own) == len(APISERVER) + 1
        assert milliseconds(own["6 etcd confirmed"]) == (4, 5)


@pytest.mark.parametrize(
    ("client", "parent", "links"),
    [
        pytest.param(Traceparent(0xA, 0xE), 0xE, [], id="trusted: the parent"),
        pytest.param(Traceparent(0xF, 0xE), None, [0xE], id="not trusted: a link"),
    ],
)
def test_the_clients_trace(client, parent, links):
    steps = [(PodStep.REQUEST_RECEIVED, str(client)), *APISERVER[1:]]
    root = by_name(builder().build(stamps(steps), NOW))["pod creation"]
    assert (root.parent.span_id if root.parent else None) == parent
    assert [link.context.span_id for link in root.links] == links


@pytest.mark.parametrize(
    "ignored",
    [
        pytest.param(stamps(KUBELET[1:]), id="begun before this process"),
        pytest.param(stamps(KUBELET, context=Traceparent(1, 2, False)), id="not sampled"),
        pytest.param(stamps(KUBELET, context="nonsense"), id="an annotation of somebody's own"),
    ],
)
def test_what_is_no_part_of_a_creation(ignored):
    assert builder().build(ignored, NOW) == []


@pytest.mark.parametrize(
    "close",
    [
        pytest.param(lambda made: made.finish(), id="at the process' end"),
        pytest.param(
            lambda made: made.build((), NOW + CREATION_LIMIT_S * 1000 * MS + 1), id="after a time"
        ),
    ],
)
def test_a_pod_that_does_not_run_has_a_root_too(close):
    made = builder()
    made.build(stamps(APISERVER[:-1]), NOW)
    (root,) = close(made)
    assert (root.name, *milliseconds(root)) == ("pod creation", 0, 7)
    assert made.finish() == []


def test_without_the_annotation_a_creation_ends_with_its_request():
    spans = by_name(builder(PodStep.RESPONDED).build(stamps(APISERVER[:7]), NOW))
    assert milliseconds(spans["pod creation"]) == (0, 6)
    assert spans["pod creation"].attributes["k8s.pod.name"] == "hello"


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(pod_spans, "PODS_MAX", 2)
    made = builder()
    received = [stamps(APISERVER[:2], uid, Traceparent(i, 1)) for i, uid in enumerate("abc", 1)]
    spans = made.build(itertools.chain(*received), NOW)
    roots = [s for s in spans if s.name == "pod creation"]
    assert [s.attributes["k8s.pod.uid"] for s in roots] == ["a"]
    assert len(made.finish()) == 2


def test_a_clock_that_is_set_back_makes_no_negative_times():
    first, second = stamps(KUBELET[:2])
    earlier = Stamp(second.step, second.uid, first.at_ns - MS, second.decision, second.traceparent)
    for span in builder().build([first, earlier], NOW):
        assert span.start_time <= span.end_time
