"""`podpath explain POD`: how the scheduler chose a node, or why it found none."""

from datetime import UTC
from pathlib import Path
from typing import Any

import grpc
import orjson
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from podpath.api import json_codec, scheme
from podpath.api.errors import ApiError
from podpath.cli.layout import ClusterError, Layout
from podpath.client import kubeconfig
from podpath.client.grpc import GrpcClient
from protos.k8s.core_v1_pb2 import Pod
from protos.podpath import scheduler_v1_pb2 as api
from protos.podpath.scheduler_v1_pb2_grpc import ExplainerStub

ROWS_MAX = 20
"""Nodes shown in the table; `-o json` has all."""
TIMEOUT_S = 10.0


def fetch(layout: Layout, pod: str) -> api.Decision:
    """The decision about `NAME`, `NAMESPACE/NAME` or a uid. Raises: ClusterError."""
    request = request_for(pod)
    with _channel(layout) as channel:
        try:
            return ExplainerStub(channel).Explain(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise ClusterError(_told(error)) from error


def find(layout: Layout, uid: str) -> api.Decision | None:
    """The decision about a Pod, for those who can do without."""
    try:
        return fetch(layout, uid)
    except ClusterError:
        return None


def request_for(pod: str) -> api.ExplainRequest:
    if pod.count("-") == 4 and "/" not in pod and len(pod) == 36:
        return api.ExplainRequest(uid=pod)
    namespace, _, name = pod.rpartition("/")
    return api.ExplainRequest(name=api.PodName(namespace=namespace or "default", name=name))


async def what_if(layout: Layout, manifest: Path) -> api.Decision:
    """What would be decided about the Pod of a manifest. Raises: ClusterError."""
    admitted = await _admitted(layout, read_pod(manifest))
    with _channel(layout) as channel:
        try:
            request = api.ExplainWhatIfRequest(pod=admitted)
            return ExplainerStub(channel).ExplainWhatIf(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise ClusterError(_told(error)) from error


async def _admitted(layout: Layout, pod: Pod) -> Pod:
    """The Pod as the API server would store it, defaults and admission included: a dry run."""
    name = pod.metadata.name
    pod.metadata.generateName = f"{name or 'what-if'}-"  # one that exists may be asked about too
    pod.metadata.name = ""
    async with GrpcClient(kubeconfig.load(layout.kubeconfig)) as client:
        try:
            admitted = await client.create(scheme.PODS, pod, dry_run=True)
        except ApiError as error:
            raise ClusterError(f"the API server would refuse it: {error}") from error
    admitted.metadata.name = name or admitted.metadata.name
    return admitted


def read_pod(manifest: Path) -> Pod:
    """The Pod of a file, or of the template in it. Raises: ClusterError."""
    try:
        documents = [d for d in yaml.safe_load_all(manifest.read_text()) if d]
    except (OSError, yaml.YAMLError) as error:
        raise ClusterError(f"{manifest}: {error}") from error
    tree = pod_of(documents[0]) if documents and isinstance(documents[0], dict) else None
    if tree is None:
        raise ClusterError(f"{manifest}: expected a Pod, or an object with a Pod template")
    try:
        pod = json_codec.from_json(Pod, orjson.loads(orjson.dumps(tree, default=str))).message
    except ValueError as error:
        raise ClusterError(f"{manifest}: {error}") from error
    pod.metadata.namespace = pod.metadata.namespace or "default"
    return pod


def pod_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """The Pod itself, or the one that a workload's template describes."""
    if document.get("kind") == "Pod":
        return document
    template = (document.get("spec") or {}).get("template")
    if not isinstance(template, dict):
        return None
    of = document.get("metadata") or {}
    inherited = {key: of[key] for key in ("name", "namespace") if key in of}
    metadata = {**inherited, **(template.get("metadata") or {})}
    return {"metadata": metadata, "spec": template.get("spec") or {}}


def _channel(layout: Layout) -> grpc.Channel:
    options = [("grpc.max_receive_message_length", -1)]
    return grpc.insecure_channel(f"unix:{layout.socket('scheduler')}", options=options)


def _told(error: Any) -> str:
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return "the scheduler does not answer; `podpath status` tells more"
    return str(error.details())


def as_tree(decision: api.Decision) -> dict[str, Any]:
    """The decision for `-o json`."""
    tree: dict[str, Any] = {
        "pod": _pod_name(decision.pod),
        "uid": decision.uid,
        "at": decision.decided_at.ToDatetime(UTC).isoformat(),
        "profile": decision.profile,
        "attempts": decision.attempts,
        "node": decision.node,
        "evaluated": decision.evaluated_nodes,
        "feasible": decision.feasible_nodes,
        "message": decision.message,
        "scores": [
            {"node": s.node, "total": s.total, "plugins": {p.plugin: _part(p) for p in s.plugins}}
            for s in decision.scores
        ],
        "rejected": {
            node: {"plugin": r.plugin, "code": r.code, "reasons": list(r.reasons)}
            for r in decision.rejections
            for node in r.nodes
        },
        "chosenAmong": list(decision.chosen_among),
    }
    if decision.HasField("preemption"):
        tree["nominatedNode"] = decision.preemption.nominated_node
        tree["victims"] = [_pod_name(victim) for victim in decision.preemption.victims]
    return tree


def _part(score: api.PluginScore) -> dict[str, int | None]:
    return {
        "raw": score.raw if score.HasField("raw") else None,
        "normalized": score.normalized,
        "weight": score.weight,
        "weighted": score.weighted,
    }


def _pod_name(pod: api.PodName) -> str:
    return f"{pod.namespace}/{pod.name}"


def print_decision(out: Console, decision: api.Decision) -> None:
    """A table a person can read: totals, the plugins' parts of them, and who was rejected why."""
    pod, node = escape(_pod_name(decision.pod)), escape(decision.node)
    if node:
        fits = f"{decision.feasible_nodes} of {decision.evaluated_nodes}"
        out.print(f"{pod} -> [bold]{node}[/bold]  ({fits} nodes looked at can run it)")
    else:
        out.print(f"{pod} fits nowhere: {escape(decision.message)}")
    if decision.HasField("preemption"):
        victims = ", ".join(_pod_name(victim) for victim in decision.preemption.victims)
        where = decision.preemption.nominated_node
        out.print(f"makes room on {escape(where)} by evicting {escape(victims)}")
    if decision.scores:
        out.print(_scores(decision))
        if len(decision.chosen_among) > 1:
            out.print(f"drawn by lot among {len(decision.chosen_among)} nodes with the same total")
    if decision.rejections:
        out.print(_rejections(decision))


def _scores(decision: api.Decision) -> Table:
    table = Table("NODE", "TOTAL", box=None, pad_edge=False)
    for part in decision.scores[0].plugins:
        table.add_column(f"{part.plugin}\n x{part.weight}", justify="right")
    for score in decision.scores[:ROWS_MAX]:
        mark = "*" if score.node == decision.node else ""
        parts = [str(part.normalized) for part in score.plugins]
        table.add_row(escape(score.node) + mark, str(score.total), *parts)
    if len(decision.scores) > ROWS_MAX:
        table.add_row(f"... {len(decision.scores) - ROWS_MAX} more", "")
    return table


def _rejections(decision: api.Decision) -> Table:
    table = Table("REJECTED BY", "NODES", "WHY", "WHICH", box=None, pad_edge=False)
    for rejection in decision.rejections:
        listed = ", ".join(rejection.nodes[:5]) + (", ..." if len(rejection.nodes) > 5 else "")
        why = ", ".join(rejection.reasons)
        table.add_row(rejection.plugin, str(len(rejection.nodes)), escape(why), escape(listed))
    return table
