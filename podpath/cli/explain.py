"""`podpath explain POD`: how the scheduler chose a node, or why it found none."""

from pathlib import Path
from typing import Any

import orjson
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from podpath.cli import diagnostics
from podpath.cli.layout import ClusterError, Layout

ROWS_MAX = 20
"""Nodes shown in the table; `-o json` has all."""


def fetch(layout: Layout, uid: str) -> dict[str, Any]:
    """The decision about a Pod. Raises: ClusterError."""
    return _read(*diagnostics.get(layout.socket("scheduler-diag"), f"/debug/explain?uid={uid}"))


def what_if(layout: Layout, manifest: Path) -> dict[str, Any]:
    """What would be decided about the Pod of a manifest. Raises: ClusterError."""
    try:
        documents = [d for d in yaml.safe_load_all(manifest.read_text()) if d]
    except (OSError, yaml.YAMLError) as error:
        raise ClusterError(f"{manifest}: {error}") from error
    pod = pod_of(documents[0]) if documents and isinstance(documents[0], dict) else None
    if pod is None:
        raise ClusterError(f"{manifest}: expected a Pod, or an object with a Pod template")
    body = orjson.dumps(pod, default=str)
    return _read(*diagnostics.post(layout.socket("scheduler-diag"), "/debug/explain", body))


def pod_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """The Pod itself, or the one that a workload's template describes."""
    if document.get("kind") == "Pod":
        return document
    template = (document.get("spec") or {}).get("template")
    if not isinstance(template, dict):
        return None
    name = (document.get("metadata") or {}).get("name", "")
    metadata = {"name": name, **(template.get("metadata") or {})}
    return {"metadata": metadata, "spec": template.get("spec") or {}}


def _read(status: int, body: bytes) -> dict[str, Any]:
    if status == 0:
        raise ClusterError("the scheduler does not answer; `podpath status` tells more")
    tree: dict[str, Any] = orjson.loads(body)
    if "error" in tree:
        raise ClusterError(tree["error"])
    return tree


def print_decision(out: Console, tree: dict[str, Any]) -> None:
    """A table a person can read: totals, the plugins' parts of them, and who was rejected why."""
    chosen = tree["node"]
    nodes = f"{tree['feasible']} of {tree['evaluated']} nodes looked at can run it"
    if chosen:
        out.print(f"{escape(tree['pod'])} -> [bold]{escape(chosen)}[/bold]  ({nodes})")
    else:
        out.print(f"{escape(tree['pod'])} fits nowhere: {escape(tree['message'])}")
    if tree.get("nominatedNode"):
        victims = ", ".join(tree["victims"])
        out.print(f"makes room on {escape(tree['nominatedNode'])} by evicting {escape(victims)}")
    if tree["scores"]:
        out.print(_scores(tree))
        if len(tree["chosenAmong"]) > 1:
            out.print(f"drawn by lot among {len(tree['chosenAmong'])} nodes with the same total")
    if tree["rejected"]:
        out.print(_rejections(tree))


def _scores(tree: dict[str, Any]) -> Table:
    plugins = list(tree["scores"][0]["plugins"])
    weights = {p: part["weight"] for p, part in tree["scores"][0]["plugins"].items()}
    table = Table("NODE", "TOTAL", box=None, pad_edge=False)
    for plugin in plugins:
        table.add_column(f"{plugin}\n x{weights[plugin]}", justify="right")
    for score in tree["scores"][:ROWS_MAX]:
        mark = "*" if score["node"] == tree["node"] else ""
        parts = [str(score["plugins"][plugin]["normalized"]) for plugin in plugins]
        table.add_row(escape(score["node"]) + mark, str(score["total"]), *parts)
    if len(tree["scores"]) > ROWS_MAX:
        table.add_row(f"... {len(tree['scores']) - ROWS_MAX} more", "")
    return table


def _rejections(tree: dict[str, Any]) -> Table:
    """Nodes with the same verdict in one row."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for node, status in tree["rejected"].items():
        grouped.setdefault((status["plugin"], ", ".join(status["reasons"])), []).append(node)
    table = Table("REJECTED BY", "NODES", "WHY", "WHICH", box=None, pad_edge=False)
    for (plugin, reasons), nodes in sorted(grouped.items()):
        listed = ", ".join(nodes[:5]) + (", ..." if len(nodes) > 5 else "")
        table.add_row(plugin, str(len(nodes)), escape(reasons), escape(listed))
    return table
