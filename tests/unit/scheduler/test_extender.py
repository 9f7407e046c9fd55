"""Webhooks as upstream's protocol has them: asked over real HTTP, answering as Go programs do."""

import base64
import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from podpath.component_base import certificates
from podpath.component_base.clock import SystemClock
from scheduler.extender import ExtenderBinder, HttpExtender
from scheduler.extender_config import ExtenderConfig
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.runtime import PluginError
from scheduler.framework.status import Code
from scheduler.pod_info import PodInfo
from scheduler.schedule_one import SchedulingAlgorithm
from tests.support.scheduling import Cluster, node, pod


class Webhook:
    """Answers by verb; keeps what it was asked."""

    def __init__(self, tls=None, **answers):
        """`tls`: an SSLContext to serve HTTPS with."""
        self.answers = answers
        self.asked = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                verb = self.path.rpartition("/")[2]
                webhook.asked.append((verb, body))
                answer = webhook.answers.get(verb)
                raw = json.dumps(answer).encode()
                self.send_response(500 if answer is None else 200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/scheduler"

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


@contextmanager
def extended(nodes=(), pods=(), *, config=None, **answers):
    """(cluster, webhook): decisions of the cluster ask the webhook."""
    with Webhook(**answers).running() as webhook:
        verbs = {f"{verb}Verb": verb for verb in answers}
        tree = {"urlPrefix": webhook.url, "weight": 2, **verbs, **(config or {})}
        extender = HttpExtender(ExtenderConfig.read(tree))
        cluster = Cluster(nodes, pods)
        cluster.handle.extenders = [extender]
        cluster.algorithm = SchedulingAlgorithm(cluster.algorithm.rng, 100, [extender])
        cluster.extender = extender
        yield cluster, webhook
        extender.close()


NODES = [node(name) for name in "abc"]


def test_with_a_cache_of_its_own_it_gets_and_gives_names():
    answer = {"NodeNames": ["b"], "FailedNodes": {"a": "busy"}, "Error": ""}
    with extended(NODES, filter=answer, config={"nodeCacheCapable": True}) as (cluster, webhook):
        decision = cluster.decide(pod())
    ((verb, asked),) = webhook.asked
    assert (verb, asked["Nodes"], sorted(asked["NodeNames"])) == ("filter", None, ["a", "b", "c"])
    assert (asked["Pod"]["kind"], asked["Pod"]["metadata"]["name"]) == ("Pod", "p")
    assert decision.node_name == "b"
    rejected = decision.explain().rejected
    assert (rejected["a"].code, rejected["a"].message) == (Code.UNSCHEDULABLE, "busy")
    assert rejected["c"].code is Code.UNRESOLVABLE  # left out without a word


def test_without_it_gets_and_gives_whole_nodes():
    answer = {
        "Nodes": {"items": [{"metadata": {"name": "c"}}]},
        "FailedAndUnresolvableNodes": {"a": "never", "b": "never"},
    }
    with extended(NODES, filter=answer) as (cluster, webhook):
        decision = cluster.decide(pod())
    ((_, asked),) = webhook.asked
    assert asked["NodeNames"] is None
    assert {n["metadata"]["name"] for n in asked["Nodes"]["items"]} == {"a", "b", "c"}
    assert decision.node_name == "c"
    assert decision.explain().rejected["a"].code is Code.UNRESOLVABLE


def test_its_rejections_are_told_and_any_event_may_help():
    answer = {"NodeNames": [], "FailedNodes": {"a": "busy", "b": "busy"}}
    with extended(NODES, filter=answer, config={"nodeCacheCapable": True}) as (cluster, _):
        error = cluster.decide(pod()).fit_error
    assert str(error).startswith("0/3 nodes are available: 2 busy. preemption: ")
    assert error.plugins == {"Extender"}
    assert "Extender" not in cluster.framework.registrations()


def test_its_scores_are_scaled_weighted_and_added():
    answer = [{"Host": "a", "Score": 1}, {"Host": "b", "Score": 10}, {"Host": "c", "Score": 0}]
    with extended(NODES, prioritize=answer) as (cluster, _):
        decision = cluster.decide(pod())
    by_node = {s.name: s.by_plugin["Extenders"] for s in decision.explain().scores}
    assert by_node == {"a": 20, "b": 200, "c": 0}  # times weight 2, on a scale of 100
    assert decision.node_name == "b"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"Error": "out of order"}, "out of order"),
        (None, "failed filter with extender at URL"),
        ({"NodeNames": ["unheard-of"]}, 'claims a filtered node "unheard-of" which is not found'),
    ],
)
def test_what_goes_wrong_fails_the_pod_unless_the_extender_is_ignorable(answer, message):
    config = {"nodeCacheCapable": True}
    with (
        extended(NODES, filter=answer, config=config) as (cluster, _),
        pytest.raises(PluginError, match=message),
    ):
        cluster.decide(pod())
    config["ignorable"] = True
    with extended(NODES, filter=answer, config=config) as (cluster, _):
        assert cluster.decide(pod()).feasible == 3


def test_nobody_there_is_a_failure_too():
    config = ExtenderConfig.read({"urlPrefix": "http://127.0.0.1:1", "filterVerb": "filter"})
    with pytest.raises(PluginError, match=r'Post "http://127.0.0.1:1/filter": .*refused'):
        HttpExtender(config).filter(PodInfo(pod()), Cluster(NODES).cache.nodes())


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("1m30s", 90), ("0s", 5), (None, 5)])
def test_its_timeout_is_a_duration_as_go_writes_it(text, seconds):
    tree = {"urlPrefix": "http://x", "filterVerb": "filter", "httpTimeout": text}
    assert ExtenderConfig.read(tree).timeout_s == seconds


def test_only_pods_that_ask_for_its_resources_concern_it():
    config = {"managedResources": [{"name": "example.com/gpu"}], "nodeCacheCapable": True}
    with extended(NODES, filter={"NodeNames": []}, config=config) as (cluster, webhook):
        assert cluster.decide(pod()).node_name
        assert webhook.asked == []
        assert not cluster.decide(pod(requests={"example.com/gpu": "1"})).node_name


def occupied():
    """Two full nodes, each with a Pod of low priority."""
    nodes = [node(name, allocatable={"cpu": "1"}) for name in "ab"]
    pods = [pod(f"low-{n}", node=n, requests={"cpu": "1"}) for n in "ab"]
    return nodes, pods


def important():
    return pod("high", requests={"cpu": "1"}, priority=10)


def preempting(answer, **config):
    nodes, pods = occupied()
    return extended(nodes, pods, preempt=answer, config=config)


def test_with_a_cache_it_is_told_uids_of_victims_and_strikes_nodes():
    left = {"b": {"Pods": [{"UID": "uid-default-low-b"}], "NumPDBViolations": 0}}
    with preempting({"NodeNameToMetaVictims": left}, nodeCacheCapable=True) as (cluster, webhook):
        decision = cluster.decide(important())
    ((verb, asked),) = webhook.asked
    assert verb == "preempt"
    assert asked["NodeNameToVictims"] is None
    assert asked["NodeNameToMetaVictims"] == {
        n: {"Pods": [{"UID": f"uid-default-low-{n}"}], "NumPDBViolations": 0} for n in "ab"
    }
    assert decision.post_filter.nominated == "b"
    assert [v.key[1] for v in decision.post_filter.victims] == ["low-b"]


def test_without_it_is_told_whole_victims():
    left = {"a": {"Pods": [{"UID": "uid-default-low-a"}]}}
    with preempting({"NodeNameToMetaVictims": left}) as (cluster, webhook):
        decision = cluster.decide(important())
    ((_, asked),) = webhook.asked
    assert asked["NodeNameToMetaVictims"] is None
    victims = asked["NodeNameToVictims"]["b"]["Pods"]
    assert [v["metadata"]["name"] for v in victims] == ["low-b"]
    assert decision.post_filter.nominated == "a"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"NodeNameToMetaVictims": {}}, "preemption: no candidate node for preemption"),
        (
            {"NodeNameToMetaVictims": {"a": {"Pods": []}}},
            'preemption: expected at least one victim pod on node "a"',
        ),
        (
            {"NodeNameToMetaVictims": {"a": {"Pods": [{"UID": "x"}]}}},
            "claims to preempt pod (UID: x) on node: a, but the pod is not found on that node",
        ),
        (
            {"NodeNameToMetaVictims": {"z": {"Pods": [{"UID": "x"}]}}},
            'preemption: nodeinfo not found for node name "z"',
        ),
        (None, "preemption: failed preempt with extender at URL"),
    ],
)
def test_an_extender_that_objects_or_errs_prevents_the_preemption(answer, message):
    with preempting(answer, nodeCacheCapable=True) as (cluster, _):
        decision = cluster.decide(important())
    assert decision.post_filter.nominated is None
    assert not decision.post_filter.victims
    assert message in str(decision.fit_error)


def test_an_ignorable_one_that_errs_does_not():
    with preempting(None, ignorable=True) as (cluster, _):
        assert cluster.decide(important()).post_filter.nominated in ("a", "b")


@pytest.mark.parametrize(
    ("answer", "config", "code"),
    [
        ({"Error": ""}, {}, Code.SUCCESS),
        ({"Error": "no"}, {}, Code.ERROR),
        ({"Error": "no"}, {"ignorable": True}, Code.SKIP),
        ({}, {"managedResources": [{"name": "example.com/gpu"}]}, Code.SKIP),
    ],
    ids=["bound", "refused", "refused but ignorable", "not its Pod"],
)
async def test_binding(answer, config, code):
    with extended(bind=answer, config=config) as (cluster, webhook):
        status = await ExtenderBinder(cluster.extender).bind(CycleState(), PodInfo(pod()), "n")
    assert status.code is code
    if code is Code.SUCCESS:
        (asked,) = webhook.asked
        assert asked == (
            "bind",
            {"PodName": "p", "PodNamespace": "default", "PodUID": "uid-default-p", "Node": "n"},
        )


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Files of a CA, a webhook `extender.test`, a client, and a CA of somebody else."""
    now = SystemClock().now()
    ca, other = (certificates.create_ca(name, now) for name in ("ca", "other"))
    server = certificates.issue(ca, certificates.serving("extender.test", ["extender.test"]), now)
    client = certificates.issue(ca, certificates.client("scheduler"), now)
    directory = tmp_path_factory.mktemp("pki")
    found = {}
    for name, pair in {"ca": ca, "other": other, "server": server, "client": client}.items():
        for kind, pem in (("crt", pair.certificate_pem), ("key", pair.key_pem)):
            found[f"{name}.{kind}"] = directory / f"{name}.{kind}"
            found[f"{name}.{kind}"].write_bytes(pem)
    return found


def https(pki, **config):
    """A webhook that demands a client certificate, asked with this configuration."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki["server.crt"], pki["server.key"])
    context.load_verify_locations(pki["ca.crt"])
    context.verify_mode = ssl.CERT_REQUIRED
    with Webhook(tls=context, filter={"NodeNames": ["a"]}).running() as webhook:
        tls = {"certFile": str(pki["client.crt"]), "keyFile": str(pki["client.key"])}
        tls.update(config.pop("tls", {}))
        tree = {"urlPrefix": webhook.url, "filterVerb": "filter", "nodeCacheCapable": True}
        extender = HttpExtender(ExtenderConfig.read({**tree, "tlsConfig": tls, **config}))
        try:
            return extender.filter(PodInfo(pod()), Cluster(NODES).cache.nodes())[0]
        finally:
            extender.close()


def test_https_with_a_ca_a_client_certificate_and_another_name(pki):
    data = base64.b64encode(pki["ca.crt"].read_bytes()).decode()
    tls = {"caData": data, "serverName": "extender.test"}
    assert [n.name for n in https(pki, tls=tls)] == ["a"]


@pytest.mark.parametrize(
    ("name", "ca"), [("extender.test", "other.crt"), ("another.test", "ca.crt"), ("", "ca.crt")]
)
def test_a_webhook_that_is_not_the_one_meant_is_not_asked(pki, name, ca):
    with pytest.raises(PluginError, match="certificate verify failed"):
        https(pki, tls={"caFile": str(pki[ca]), "serverName": name})


@pytest.mark.parametrize("config", [{"enableHTTPS": True}, {"tls": {"insecure": True}}])
def test_verification_can_be_switched_off(pki, config):
    assert https(pki, **config)
