"""Explaining decisions: bounded, complete, and what-if changes nothing."""

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from rich.console import Console

from podpath.cli import explain as cli
from podpath.cli.layout import ClusterError
from podpath.component_base.clock import FakeClock
from scheduler.explain import DecisionLog, Explainer, as_tree
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


async def test_over_the_diagnostics_socket():
    made, log = cluster(vectorised=True), DecisionLog(FakeClock())
    decided(made, pod(), log)
    explainer = Explainer(log, {"default-scheduler": made.framework}, made.cache, FakeClock())
    application = web.Application()
    application.router.add_routes(explainer.routes())
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "3"}}}]},
    }
    async with TestClient(TestServer(application)) as client:
        found = await (await client.get("/debug/explain?uid=uid-default-p")).json()
        assert found["pod"] == "default/p"
        assert (await client.get("/debug/explain?uid=nobody")).status == 404
        what_if = await (await client.post("/debug/explain", data=orjson.dumps(manifest))).json()
        assert what_if["node"] == "a"
        assert what_if["rejected"]["b"]["reasons"] == ["Insufficient cpu"]
        manifest["spec"]["schedulerName"] = "other"
        refused = await client.post("/debug/explain", data=orjson.dumps(manifest))
        assert (refused.status, (await refused.json())["error"]) == (
            400,
            'no profile "other" here, only default-scheduler',
        )
        assert (await client.post("/debug/explain", data=b"[")).status == 400
    assert not made.cache.nodes()[0].pods


def test_the_table_names_nodes_plugins_and_reasons():
    made, log = cluster(vectorised=True), DecisionLog(FakeClock())
    decided(made, pod(), log)
    out = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with out.file:
        cli.print_decision(out, as_tree(log.find("uid-default-p")))
        text = out.export_text()
    for expected in ("default/p -> a", "NodeResourcesFit", "node(s) were unschedulable"):
        assert expected in text


def test_what_if_takes_a_workloads_template(tmp_path):
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}},
    }
    assert cli.pod_of(deployment)["metadata"] == {"name": "d", "labels": {"a": "b"}}
    bad = tmp_path / "bad.yaml"
    bad.write_text("just text")
    with pytest.raises(ClusterError, match="expected a Pod"):
        cli.what_if(None, bad)
