"""The trace context of created Pods: who gets one, which, and who is believed."""

import uuid

import pytest

from apiserver.authentication.users import LOOPBACK
from apiserver.verbs.apply import APPLY
from apiserver.verbs.creation import NO_TRACING, Tracing
from apiserver.verbs.interface import BatchItem, Target, UserInfo, WriteOptions
from podpath.api import scheme
from podpath.component_base import pod_trace, traceparent
from podpath.component_base.pod_trace import Stamp
from podpath.component_base.traceparent import TRACEPARENT_ANNOTATION, Traceparent
from protos.k8s.apps_v1_pb2 import Deployment
from protos.k8s.core_v1_pb2 import ConfigMap, Pod
from tests.support.verbs import local_apiserver

PODS = Target(scheme.PODS, "default")
ALL = Tracing(enabled=True, rate_per_million=1_000_000)
ON_DEMAND = Tracing(enabled=True)
SILENT = Tracing(enabled=True, rate_per_million=1_000_000, annotates=False)
ADMIN = UserInfo("admin", groups=("system:masters",))
DEVELOPER = UserInfo("jane", groups=("developers",))

CLIENT = Traceparent(0xC, 0xD)
FOREIGN = str(Traceparent(0xE, 0xF))


def pod(name="a", **annotations):
    made = Pod()
    made.metadata.name = name
    made.metadata.annotations.update(annotations)
    made.spec.containers.add(name="c", image="i")
    return made


def sent(client=None, **more):
    return WriteOptions(traceparent=str(client or ""), **more)


def context_of(obj):
    return traceparent.parse(obj.metadata.annotations.get(TRACEPARENT_ANNOTATION, ""))


@pytest.mark.parametrize(
    ("tracing", "user", "options", "expected"),
    [
        pytest.param(NO_TRACING, ADMIN, sent(CLIENT), "none", id="not traced at all"),
        pytest.param(ALL, ADMIN, sent(), "own", id="sampled here"),
        pytest.param(ON_DEMAND, ADMIN, sent(), "none", id="nobody wants it"),
        pytest.param(ON_DEMAND, ADMIN, sent(CLIENT), "client's", id="the client wants it"),
        pytest.param(ALL, ADMIN, sent(Traceparent(1, 2, False)), "none", id="it does not"),
        pytest.param(ALL, ADMIN, sent("nonsense"), "own", id="a header that is none"),
        pytest.param(ON_DEMAND, DEVELOPER, sent(CLIENT), "none", id="not trusted to sample"),
        pytest.param(ALL, DEVELOPER, sent(CLIENT), "own", id="not trusted to be the parent"),
        pytest.param(SILENT, ADMIN, sent(), "none", id="switched off"),
        pytest.param(ALL, ADMIN, sent(dry_run=True), "none", id="dry run"),
    ],
)
@pytest.mark.parametrize("annotation", ["", FOREIGN, "nonsense"])
async def test_the_annotation_is_the_servers_alone(tracing, user, options, expected, annotation):
    wanted = pod(**{TRACEPARENT_ANNOTATION: annotation} if annotation else {}, kept="yes")
    async with local_apiserver(tracing=tracing) as local:
        made = (await local.chain.create(user, PODS, wanted, options)).object
    assert made.metadata.annotations["kept"] == "yes"
    if expected == "none":
        assert dict(made.metadata.annotations) == {"kept": "yes"}
        return
    found = context_of(made)
    own = uuid.UUID(made.metadata.uid).int
    assert found.sampled
    assert found.trace_id == (own if expected == "own" else CLIENT.trace_id)
    assert found.span_id == own & ((1 << 64) - 1)


async def test_other_kinds_and_templates_are_left_alone():
    config_map, deployment = ConfigMap(), Deployment()
    config_map.metadata.name = deployment.metadata.name = "a"
    config_map.metadata.annotations[TRACEPARENT_ANNOTATION] = FOREIGN
    template = deployment.spec.template
    template.metadata.annotations[TRACEPARENT_ANNOTATION] = FOREIGN
    template.metadata.labels["app"] = deployment.spec.selector.matchLabels["app"] = "a"
    template.spec.containers.add(name="c", image="i")
    async with local_apiserver(tracing=ALL) as local:
        create = local.chain.create
        made = (await create(ADMIN, Target(scheme.CONFIGMAPS, "default"), config_map)).object
        deployed = (await create(ADMIN, Target(scheme.DEPLOYMENTS, "default"), deployment)).object
    assert dict(made.metadata.annotations) == {TRACEPARENT_ANNOTATION: FOREIGN}
    assert dict(deployed.metadata.annotations) == {}
    assert dict(deployed.spec.template.metadata.annotations) == {TRACEPARENT_ANNOTATION: FOREIGN}


async def test_pods_of_one_batch_are_traces_of_their_own():
    items = [BatchItem(PODS, pod(name), sent()) for name in "abc"]
    async with local_apiserver(tracing=ALL) as local:
        made = [v.object for v in await local.chain.create_batch(ADMIN, items)]
    assert len({context_of(obj).trace_id for obj in made}) == 3


async def test_pods_of_one_client_trace_are_spans_of_their_own():
    items = [BatchItem(PODS, pod(name), sent(CLIENT)) for name in "abc"]
    async with local_apiserver(tracing=ALL) as local:
        made = [v.object for v in await local.chain.create_batch(ADMIN, items)]
    assert {context_of(obj).trace_id for obj in made} == {CLIENT.trace_id}
    assert len({context_of(obj).span_id for obj in made}) == 3


@pytest.fixture
def told():
    stamps = []
    pod_trace.ring.on_sampled = lambda record, context: stamps.append(Stamp(*record, context))
    yield stamps
    pod_trace.ring.on_sampled = None


async def test_every_step_of_a_sampled_creation_is_told(told):
    async with local_apiserver(tracing=SILENT) as local:
        made = (await local.chain.create(ADMIN, PODS, pod(), sent(CLIENT))).object
        target = Target(scheme.PODS, "default", "applied")
        spec = {"containers": [{"name": "c", "image": "i"}]}
        config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "applied"}, "spec": spec}
        options = sent(field_manager="m")
        applied = (await local.chain.patch(LOOPBACK, target, APPLY, config, options)).object
    for obj in (made, applied):
        steps = [s.step.number for s in told if s.uid == obj.metadata.uid]
        assert steps == ["1", "2", "3", "4", "5", "6", "7"]
    first, *_, last = [s for s in told if s.uid == made.metadata.uid]
    assert (first.decision, last.decision) == (str(CLIENT), "default/a")
    assert traceparent.parse(first.traceparent).trace_id == CLIENT.trace_id


async def test_applying_again_changes_nothing():
    target = Target(scheme.PODS, "default", "a")
    spec = {"containers": [{"name": "c", "image": "i"}]}
    config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}
    options = sent(field_manager="m")
    async with local_apiserver(tracing=ALL) as local:
        first = (await local.chain.patch(ADMIN, target, APPLY, config, options)).object
        again = (await local.chain.patch(ADMIN, target, APPLY, config, options)).object
    assert context_of(first) is not None
    assert again.metadata.resourceVersion == first.metadata.resourceVersion
