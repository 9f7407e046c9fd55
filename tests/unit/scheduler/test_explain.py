"""Explaining decisions: bounded, complete, and what-if changes nothing."""

import stat

import grpc
import grpc.aio
import pytest
from rich.console import Console

from podpath.cli import explain as cli
from podpath.cli.layout import ClusterError
from podpath.component_base.clock import FakeClock
from protos.podpath import scheduler_v1_pb2 as api
from protos.podpath.scheduler_v1_pb2_grpc import ExplainerStub
from scheduler import explain_server
from scheduler.explain import DecisionLog, told
from scheduler.explain_server import Explainer
from scheduler.pod_info import PodInfo
from scheduler.queue import QueuedPod
from scheduler.vectorised.algorithm import VectorisedAlgorithm
from tests.support.scheduling import Cluster, node, pod


def cluster(*, vectorised):
    made = Cluster([node("a"), node("b", allocatable={"cpu": "2"}), node("c", unschedulable=True)])
    if vectorised:
        made.algorithm = VectorisedAlgorithm(
            made.framework, made.cache, made.listers, made.algorithm
        )
    return made


def as_tree(record):
    return cli.as_tree(told(record))


def decided(made, a_pod, log):
    queued = QueuedPod(PodInfo(a_pod), 0.0, attempts=1)
    decision = made.decide(a_pod)
    log.keep(queued, made.framework, decision)
    return decision


@pytest.mark.parametrize("vectorised", [False, True], ids=["plain", "vectorised"])
def test_every_node_and_plugin_is_told(vectorised):
    made, log = cluster(vectorised=vectorised), DecisionLog(FakeClock())
    decided(made, pod(requests={"cpu": "1", "memory": "1Gi"}), log)
    tree = as_tree(log.find("uid-default-p"))
    assert tree["node"] == "a"
    assert tree["chosenAmong"] == ["a"]
    assert tree["rejected"] == {
        "c": {
            "plugin": "NodeUnschedulable",
            "code": "UnschedulableAndUnresolvable",
            "reasons": ["node(s) were unschedulable"],
        }
    }
    best, second = tree["scores"]
    assert (best["node"], second["node"]) == ("a", "b")
    assert best["plugins"]["NodeResourcesFit"] == {
        "raw": 81,
        "normalized": 81,
        "weight": 1,
        "weighted": 81,
    }
    for score in tree["scores"]:
        assert score["total"] == sum(p["weighted"] for p in score["plugins"].values())
        assert all(0 <= p["normalized"] <= 100 for p in score["plugins"].values())


@pytest.mark.parametrize("vectorised", [False, True], ids=["plain", "vectorised"])
def test_what_comes_later_does_not_change_what_was_decided(vectorised):
    made, log = cluster(vectorised=vectorised), DecisionLog(FakeClock())
    decision = decided(made, pod(), log)
    before = as_tree(log.find("uid-default-p"))
    made.cache.assume(PodInfo(pod("other", requests={"cpu": "2"})), decision.node_name)
    made.cache.set_node(node("b", unschedulable=True))
    made.decide(pod("third"))
    assert as_tree(log.find("uid-default-p")) == before


def test_a_pod_that_fits_nowhere():
    made, log = cluster(vectorised=True), DecisionLog(FakeClock())
    decided(made, pod(requests={"cpu": "64"}), log)
    tree = as_tree(log.find("uid-default-p"))
    assert tree["node"] == ""
    assert tree["message"].startswith(
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Ins"
    )
    assert sorted(tree["rejected"]) == ["a", "b", "c"]


@pytest.mark.parametrize("limits", [{"decisions_max": 3}, {"bytes_max": 3000}])
def test_it_stays_bounded(limits):
    made, log = cluster(vectorised=True), DecisionLog(FakeClock(), **limits)
    for i in range(50):
        decided(made, pod(f"p{i}"), log)
    assert 0 < len(log) < 20
    assert log.find("uid-default-p0") is None
    assert log.find("uid-default-p49") is not None


@pytest.fixture
async def served(tmp_path):
    """(stub, cluster, log, socket) of an explainer on a unix socket."""
    made, log = cluster(vectorised=True), DecisionLog(FakeClock())
    explainer = Explainer(log, {"default-scheduler": made.framework}, made.cache, FakeClock())
    socket = tmp_path / "explain.sock"
    async with (
        explain_server.serve(explainer, str(socket)),
        grpc.aio.insecure_channel(f"unix:{socket}") as channel,
    ):
        yield ExplainerStub(channel), made, log, socket


@pytest.mark.parametrize(
    "asked",
    [
        api.ExplainRequest(uid="uid-default-p"),
        api.ExplainRequest(name=api.PodName(namespace="default", name="p")),
    ],
    ids=["by uid", "by name"],
)
async def test_over_grpc(served, asked):
    stub, made, log, socket = served
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    decided(made, pod(), log)
    found = await stub.Explain(asked)
    assert (found.pod.name, found.node, found.profile) == ("p", "a", "default-scheduler")
    assert [list(r.nodes) for r in found.rejections] == [["c"]]
    for unknown in (api.ExplainRequest(uid="nobody"), api.ExplainRequest()):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Explain(unknown)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_newest_pod_of_a_name_is_meant(served):
    stub, made, log, _ = served
    for uid in ("first", "second"):
        again = pod()
        again.metadata.uid = uid
        decided(made, again, log)
    found = await stub.Explain(cli.request_for("p"))
    assert found.uid == "second"


async def test_what_if_decides_and_changes_nothing(served):
    stub, made, log, _ = served
    asked = pod("x", requests={"cpu": "3"})
    found = await stub.ExplainWhatIf(api.ExplainWhatIfRequest(pod=asked))
    assert found.node == "a"
    assert {n: list(r.reasons) for r in found.rejections for n in r.nodes}["b"] == [
        "Insufficient cpu"
    ]
    assert not made.cache.nodes()[0].pods
    assert len(log) == 0
    asked.spec.schedulerName = "other"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ExplainWhatIf(api.ExplainWhatIfRequest(pod=asked))
    assert (refused.value.code(), refused.value.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        'no profile "other" here, only default-scheduler',
    )


def test_the_table_names_nodes_plugins_and_reasons():
    made, log = cluster(vectorised=True), DecisionLog(FakeClock())
    decided(made, pod(), log)
    out = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with out.file:
        cli.print_decision(out, told(log.find("uid-default-p")))
        text = out.export_text()
    for expected in ("default/p -> a", "NodeResourcesFit", "node(s) were unschedulable"):
        assert expected in text


def test_what_if_takes_a_workloads_template(tmp_path):
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text(
        "kind: Deployment\n"
        "metadata: {name: d, namespace: prod}\n"
        "spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}}\n"
    )
    found = cli.read_pod(manifest)
    assert (found.metadata.namespace, found.metadata.name) == ("prod", "d")
    assert dict(found.metadata.labels) == {"a": "b"}
    assert [c.name for c in found.spec.containers] == ["c"]


@pytest.mark.parametrize(
    "text", ["just text", "kind: Service", "kind: Pod\nspec: {containers: 3}", "a: [", ""]
)
def test_what_is_no_pod_is_refused(tmp_path, text):
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)
    with pytest.raises(ClusterError, match=str(bad)):
        cli.read_pod(bad)
