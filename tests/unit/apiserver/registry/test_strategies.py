"""What is particular to kinds when they are created and updated."""

from datetime import UTC, datetime

import pytest

from apiserver.registry.apps import scale
from apiserver.registry.batch.job import JobStrategy
from apiserver.registry.core import binding, event
from apiserver.registry.core.pod import PodStrategy, qos_class
from apiserver.registry.core.pod_status import PodStatusStrategy
from apiserver.registry.core.secret import SecretStrategy
from apiserver.registry.strategy import GenericStrategy, StatusStrategy
from podpath.api import scheme
from podpath.api.errors import ApiError
from protos.k8s.apps_v1_pb2 import Deployment
from protos.k8s.autoscaling_v1_pb2 import Scale
from protos.k8s.batch_v1_pb2 import Job
from protos.k8s.core_v1_pb2 import Binding, Event, Pod, Secret

NOW = datetime(2024, 1, 2, tzinfo=UTC)


def container(pod, requests=(), limits=(), init=False):
    made = (pod.spec.initContainers if init else pod.spec.containers).add(name="c")
    for name, amount in requests:
        made.resources.requests[name].string = amount
    for name, amount in limits:
        made.resources.limits[name].string = amount


BOTH = (("cpu", "1"), ("memory", "1Gi"))


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        pytest.param([((), ())], "BestEffort", id="nothing"),
        pytest.param([((("cpu", "0"),), ())], "BestEffort", id="zero is nothing"),
        pytest.param([((("nvidia.com/gpu", "1"),), ())], "BestEffort", id="other resources"),
        pytest.param([(BOTH, BOTH)], "Guaranteed", id="equal"),
        pytest.param([((("cpu", "1000m"), ("memory", "1Gi")), BOTH)], "Guaranteed", id="spelling"),
        pytest.param([(BOTH, BOTH), ((), ())], "Burstable", id="one container has none"),
        pytest.param([(BOTH[:1], BOTH[:1])], "Burstable", id="memory missing"),
        pytest.param([((("cpu", "1"),), (("cpu", "2"),))], "Burstable", id="limit above"),
    ],
)
def test_qos_class(containers, expected):
    pod = Pod()
    for requests, limits in containers:
        container(pod, requests, limits)
    assert qos_class(pod) == expected


def test_pods_start_pending_whatever_the_client_says():
    pod = Pod()
    pod.status.phase, pod.status.podIP = "Running", "1.2.3.4"
    PodStrategy(scheme.PODS).prepare_for_create(pod)
    assert (pod.status.phase, pod.status.podIP, pod.status.qosClass) == (
        "Pending",
        "",
        "BestEffort",
    )


def test_gated_pods_say_so():
    pod = Pod()
    pod.spec.schedulingGates.add(name="example.com/wait")
    PodStrategy(scheme.PODS).prepare_for_create(pod)
    assert [(c.type, c.reason) for c in pod.status.conditions] == [
        ("PodScheduled", "SchedulingGated")
    ]


def test_pod_status_changes_nothing_else():
    old = Pod()
    old.metadata.name, old.spec.nodeName = "a", "n"
    old.metadata.ownerReferences.add(name="owner")
    old.status.qosClass = "Burstable"
    new = Pod()
    new.metadata.name, new.spec.nodeName, new.status.phase = "a", "other", "Running"
    new.metadata.labels["x"] = "1"
    PodStatusStrategy(PodStrategy(scheme.PODS)).prepare_for_update(new, old)
    assert (new.spec.nodeName, new.status.phase, new.status.qosClass) == (
        "n",
        "Running",
        "Burstable",
    )
    assert len(new.metadata.ownerReferences) == 1
    assert dict(new.metadata.labels) == {"x": "1"}


@pytest.mark.parametrize(
    ("replicas", "generation"),
    [pytest.param(3, 1, id="unchanged"), pytest.param(4, 2, id="changed")],
)
def test_generation_counts_changes_of_the_spec(replicas, generation):
    old = Deployment()
    old.spec.replicas, old.metadata.generation, old.status.replicas = 3, 1, 2
    new = Deployment()
    new.spec.replicas, new.metadata.generation = replicas, 1
    new.metadata.labels["x"] = "1"
    GenericStrategy(scheme.DEPLOYMENTS).prepare_for_update(new, old)
    assert new.metadata.generation == generation
    assert new.status.replicas == 2


def test_status_of_any_kind_keeps_the_spec():
    old, new = Deployment(), Deployment()
    old.spec.replicas, new.spec.replicas, new.status.replicas = 3, 9, 9
    StatusStrategy(GenericStrategy(scheme.DEPLOYMENTS)).prepare_for_update(new, old)
    assert (new.spec.replicas, new.status.replicas) == (3, 9)


def bind_request(**meta):
    made = Binding()
    made.target.name = "n1"
    for name, value in meta.items():
        setattr(made.metadata, name, value)
    return made


def bound_pod(node="", gates=0, deleting=False):
    pod = Pod()
    pod.metadata.name, pod.metadata.uid, pod.spec.nodeName = "a", "u", node
    for _ in range(gates):
        pod.spec.schedulingGates.add(name="g")
    if deleting:
        pod.metadata.deletionTimestamp.seconds = 1
    return pod


def test_binding_assigns_and_says_so():
    pod = bound_pod()
    binding.assign(pod, bind_request(), NOW)
    assert pod.spec.nodeName == "n1"
    assert [(c.type, c.status) for c in pod.status.conditions] == [("PodScheduled", "True")]


@pytest.mark.parametrize(
    ("pod", "request_", "text"),
    [
        pytest.param(
            bound_pod("n0"), bind_request(), 'pod a is already assigned to node "n0"', id="bound"
        ),
        pytest.param(bound_pod(), bind_request(uid="v"), "UID in precondition: v", id="another"),
        pytest.param(bound_pod(gates=1), bind_request(), "schedulingGates", id="gated"),
        pytest.param(bound_pod(deleting=True), bind_request(), "is being deleted", id="deleted"),
    ],
)
def test_binding_is_refused(pod, request_, text):
    with pytest.raises(ApiError) as caught:
        binding.assign(pod, request_, NOW)
    assert caught.value.reason == "Conflict"
    assert text in str(caught.value)


def test_string_data_goes_into_data():
    secret = Secret()
    secret.data["a"] = b"old"
    secret.stringData["a"] = "new"
    SecretStrategy(scheme.SECRETS).prepare_for_create(secret)
    assert dict(secret.data) == {"a": b"new"}
    assert not secret.stringData


def test_jobs_select_their_pods_by_uid():
    job = Job()
    job.metadata.name, job.metadata.uid = "j", "u"
    JobStrategy(scheme.JOBS).prepare_for_create(job)
    assert dict(job.spec.selector.matchLabels) == {"batch.kubernetes.io/controller-uid": "u"}
    assert job.spec.template.metadata.labels["batch.kubernetes.io/job-name"] == "j"


def test_events_are_the_same_in_both_versions():
    core = Event()
    core.metadata.name = "e"
    core.involvedObject.name = "pod"
    core.message, core.reason, core.type, core.count = "text", "Scheduled", "Normal", 3
    core.source.component = "scheduler"
    core.lastTimestamp.seconds = 7
    core.series.count = 2
    shown = event.from_core(core)
    assert (shown.regarding.name, shown.note, shown.deprecatedCount) == ("pod", "text", 3)
    assert event.to_core(shown) == core


def test_scale_shows_and_sets_replicas():
    deployment = Deployment()
    deployment.metadata.name = "d"
    deployment.spec.replicas, deployment.status.replicas = 3, 2
    deployment.spec.selector.matchLabels["app"] = "x"
    shown = scale.scale_of(scheme.DEPLOYMENTS, deployment)
    assert (shown.spec.replicas, shown.status.replicas, shown.status.selector) == (3, 2, "app=x")
    wanted = Scale()
    wanted.spec.replicas = 5
    scale.apply(wanted, deployment)
    assert deployment.spec.replicas == 5
    wanted.spec.replicas = -1
    assert [e.path for e in scale.validate(wanted)] == ["spec.replicas"]
