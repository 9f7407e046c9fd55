"""One trace for each Pod's creation, over all processes, at a receiver of OpenTelemetry's."""

import json
from pathlib import Path

import pytest

from podpath.component_base import traceparent
from podpath.component_base.pod_trace import PodStep
from podpath.component_base.traceparent import TRACEPARENT_ANNOTATION
from podpath.component_base.tracing import MILLION, TracingConfiguration
from tests.support.cluster import running_cluster, wait_until
from tests.support.otlp import otlp_receiver

pytestmark = [pytest.mark.integration, pytest.mark.kubectl, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[3] / "examples" / "pod.yaml"
FOREIGN = f"00-{1:032x}-{2:016x}-01"
WAIT_S = 60

STEPS_OF = {
    "apiserver": {"1", "2", "3", "4", "5", "6", "7", "11", "17"},
    "scheduler": {"8", "9a", "9b", "10"},
    "kubelet": {"12", "13", "14", "16"},
    "runtime_shim": {"15"},
    "controllers": {"18"},
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {
                "labels": {"app": "web"},
                "annotations": {TRACEPARENT_ANNOTATION: FOREIGN, "kept": "yes"},
            },
            "spec": {"containers": [{"name": "c", "image": "podpath/busybox:1.35"}]},
        },
    },
}


@pytest.fixture(scope="module")
def receiver():
    with otlp_receiver() as receiving:
        yield receiving


@pytest.fixture(scope="module")
def cluster(receiver):
    tracing = TracingConfiguration(receiver.endpoint, MILLION)
    with running_cluster("fake", tracing=tracing) as running:
        yield running


def whole_trace(receiver, uid):
    """The spans of a Pod that runs, once all of them have come."""
    expected = {step.number for step in PodStep} | {""}
    wait_until(
        lambda: {r.step for r in receiver.of_pod(uid)} == expected, WAIT_S, f"the trace of {uid}"
    )
    return receiver.of_pod(uid)


def test_a_pods_creation_is_one_trace_over_all_processes(cluster, receiver):
    cluster.kubectl("apply", "-f", str(EXAMPLE))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/hello", "--timeout=60s")
    assert "unchanged" in cluster.kubectl("apply", "-f", str(EXAMPLE))
    (pod,) = cluster.items("pods")
    uid = pod["metadata"]["uid"]
    context = traceparent.parse(pod["metadata"]["annotations"][TRACEPARENT_ANNOTATION])

    spans = whole_trace(receiver, uid)
    assert {int.from_bytes(r.span.trace_id) for r in spans} == {context.trace_id}
    (root,) = [r for r in spans if not r.step]
    assert (root.service, root.span.name) == ("apiserver", "pod creation")
    assert int.from_bytes(root.span.span_id) == context.span_id
    assert not root.span.parent_span_id
    assert root.attributes["k8s.pod.name"] == "hello"
    steps = [r for r in spans if r.step]
    assert {r.span.parent_span_id for r in steps} == {root.span.span_id}
    found = {service: {r.step for r in steps if r.service == service} for service in STEPS_OF}
    assert found == STEPS_OF
    for r in steps:
        assert r.span.start_time_unix_nano <= r.span.end_time_unix_nano
        assert r.span.end_time_unix_nano >= root.span.start_time_unix_nano
    decisions = {r.step: r.attributes["podpath.decision"] for r in steps}
    assert decisions["10"] == decisions["12"] == "node-1"
    assert {r.host for r in steps if r.service == "kubelet"} == {"node-1"}


def test_a_deployments_pods_have_traces_of_their_own(cluster, receiver):
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(DEPLOYMENT))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = [pod["metadata"] for pod in cluster.items("pods", "-l", "app=web")]
    contexts = {pod["annotations"][TRACEPARENT_ANNOTATION] for pod in pods}
    assert len(contexts) == len(pods) == 3
    assert FOREIGN not in contexts
    assert {pod["annotations"]["kept"] for pod in pods} == {"yes"}
    traces = {whole_trace(receiver, pod["uid"])[0].span.trace_id for pod in pods}
    assert len(traces) == 3
