"""The trace context of created Pods through both doors of a real process, and its flag."""

import json
import re
import ssl
from http.client import HTTPSConnection

import grpc
import pytest
import yaml

from podpath.api.scheme import CONFIGMAPS, PODS
from podpath.cli import diagnostics
from podpath.component_base import traceparent
from podpath.component_base.traceparent import TRACEPARENT_ANNOTATION, Traceparent
from protos.k8s.core_v1_pb2 import ConfigMap, Pod
from protos.k8s.runtime_pb2 import Unknown
from protos.podpath import apiserver_v1_pb2 as api
from tests.support.apiserver import running_apiserver
from tests.support.cluster import wait_until
from tests.support.etcd import free_ports
from tests.support.otlp import otlp_receiver

pytestmark = pytest.mark.integration

CLIENT = Traceparent(0xABC, 0xDEF)
WAIT_S = 60


@pytest.fixture
def receiver():
    with otlp_receiver() as receiving:
        yield receiving


@pytest.fixture
def flags(tmp_path, receiver):
    """Every creation is sampled."""
    file = tmp_path / "tracing.yaml"
    file.write_text(
        yaml.safe_dump({"endpoint": receiver.endpoint, "samplingRatePerMillion": 1_000_000})
    )
    return (f"--tracing-config-file={file}", "--disable-admission-plugins=ServiceAccount")


def pod(name, **annotations):
    made = Pod()
    made.metadata.namespace, made.metadata.name = "default", name
    made.metadata.annotations.update(annotations)
    made.spec.containers.add(name="c", image="i")
    return made


def post(server, path, tree, **headers):
    pair, ca = server.pki.user("admin"), server.pki.ca.certificate
    tls = ssl.create_default_context(cafile=str(ca))
    tls.load_cert_chain(pair.certificate, pair.key)
    connection = HTTPSConnection("127.0.0.1", server.https_port, context=tls, timeout=WAIT_S)
    try:
        headers = {"Content-Type": "application/json", **headers}
        connection.request("POST", path, json.dumps(tree), headers)
        return json.load(connection.getresponse())
    finally:
        connection.close()


async def create_by_grpc(server, obj, *metadata):
    config = server.config()
    tls = grpc.ssl_channel_credentials(config.ca, config.key, config.cert)
    request = api.CreateRequest(
        resource=api.ResourceRef(version="v1", resource="pods"),
        namespace="default",
        object=Unknown(raw=obj.SerializeToString()),
    )
    async with grpc.aio.secure_channel(config.grpc_address, tls) as channel:
        call = channel.unary_unary(
            "/podpath.apiserver.v1.ApiServer/Create",
            request_serializer=api.CreateRequest.SerializeToString,
            response_deserializer=Unknown.FromString,
        )
        answer = await call(request, metadata=metadata, timeout=WAIT_S)
    return Pod.FromString(answer.raw)


def root_of(receiver, uid):
    wait_until(lambda: receiver.of_pod(uid), WAIT_S, "spans")
    wait_until(lambda: [r for r in receiver.of_pod(uid) if not r.step], WAIT_S, "the root")
    (root,) = [r for r in receiver.of_pod(uid) if not r.step]
    return root.span


async def test_a_clients_trace_goes_on_through_both_doors(flags, receiver):
    header = ("traceparent", str(CLIENT))
    async with running_apiserver(*flags) as server:
        tree = {
            "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        path = "/api/v1/namespaces/default/pods"
        by_https = post(server, path, tree, traceparent=str(CLIENT))["metadata"]
        by_grpc = (await create_by_grpc(server, pod("b"), header)).metadata
        contexts = [
            traceparent.parse(by_https["annotations"][TRACEPARENT_ANNOTATION]),
            traceparent.parse(by_grpc.annotations[TRACEPARENT_ANNOTATION]),
        ]
        assert server.stop() == 0  # sends what is left: these Pods will never run
    for uid, context in zip((by_https["uid"], by_grpc.uid), contexts, strict=True):
        assert context.trace_id == CLIENT.trace_id
        root = root_of(receiver, uid)
        assert int.from_bytes(root.trace_id) == CLIENT.trace_id
        assert int.from_bytes(root.parent_span_id) == CLIENT.span_id
        assert int.from_bytes(root.span_id) == context.span_id


async def test_created_pods_only_have_the_annotation(flags):
    theirs = {TRACEPARENT_ANNOTATION: str(CLIENT)}
    config_map = ConfigMap()
    config_map.metadata.namespace, config_map.metadata.name = "default", "c"
    async with running_apiserver(*flags) as server, server.client() as client:
        made = [await client.create(PODS, pod(name, **theirs)) for name in "ab"]
        other = await client.create(CONFIGMAPS, config_map)
    contexts = {obj.metadata.annotations[TRACEPARENT_ANNOTATION] for obj in made}
    assert len(contexts) == 2
    assert str(CLIENT) not in contexts
    assert not other.metadata.annotations


async def test_switched_off_there_is_no_annotation_and_the_request_is_traced(flags, receiver):
    off = "--pod-traceparent-annotation=false"
    async with running_apiserver(*flags, off) as server, server.client() as client:
        made = await client.create(PODS, pod("a"))
        assert not made.metadata.annotations
        root_of(receiver, made.metadata.uid)
        assert {r.step for r in receiver.of_pod(made.metadata.uid)} == {"", *"1234567"}


async def test_a_receiver_that_is_away_costs_spans_and_nothing_else(tmp_path):
    file = tmp_path / "tracing.yaml"
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    file.write_text(yaml.safe_dump({"endpoint": nobody, "samplingRatePerMillion": 1_000_000}))
    flags = (f"--tracing-config-file={file}", "--disable-admission-plugins=ServiceAccount")

    def lost():
        _, body = diagnostics.get(server.diagnostics, "/metrics")
        (line,) = re.findall(rb'podpath_trace_dropped_total{reason="not_sent"} (\S+)', body) or [0]
        return float(line)

    async with running_apiserver(*flags) as server, server.client() as client:
        await client.create(PODS, pod("a"))
        wait_until(lambda: lost() >= 7, WAIT_S, "the steps' spans to be given up")
        await client.create(PODS, pod("b"))
        assert server.stop() == 0
