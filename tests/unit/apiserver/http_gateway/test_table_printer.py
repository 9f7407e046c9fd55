"""Tables against upstream's: columns of all kinds, rows of the golden file, durations."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from apiserver.http_gateway import table_printer
from apiserver.http_gateway.printers.by_kind import PRINTERS
from apiserver.http_gateway.printers.cells import human_duration
from apiserver.storage.version import ObjectVersion
from podpath.api import json_codec, scheme
from protos.k8s import core_v1_pb2, rbac_v1_pb2

_GOLDEN = Path(__file__).parents[3] / "golden"
_FACTS = json.loads((_GOLDEN / "rest-facts.json").read_text())
_ROWS = json.loads((_GOLDEN / "k8s-table-rows.json").read_text())
_NOW = datetime(2024, 1, 2, 3, 5, 5, tzinfo=UTC)


def _version(api_version: str, kind: str, tree: Any) -> ObjectVersion:
    resource = scheme.by_kind(api_version, kind)
    return ObjectVersion(resource, json_codec.from_json(resource.message, tree).message)


@pytest.mark.parametrize("entry", _ROWS, ids=[f"{e['kind']}/{e['name']}" for e in _ROWS])
def test_golden_rows(entry: dict[str, Any]):
    version = _version(entry["apiVersion"], entry["kind"], entry["object"])
    table = table_printer.table_of_object(version, "Metadata", _NOW)
    assert [column["name"] for column in table["columnDefinitions"]] == entry["columns"]
    assert [row["cells"] for row in table["rows"]] == entry["cells"]
    conditions = [
        [{k: c[k] for k in ("reason", "status", "type")} for c in row.get("conditions", [])]
        for row in table["rows"]
    ]
    assert conditions == entry["row_conditions"]


@pytest.mark.parametrize("kind", [f"{k}.{g}" if g else k for g, k in PRINTERS])
def test_columns(kind: str):
    name, _, group = kind.partition(".")
    columns = table_printer.columns_of(PRINTERS[group, name][0])
    shown = [{k: v for k, v in column.items() if k != "description"} for column in columns]
    assert shown == _FACTS["table_columns"][kind]


@pytest.mark.parametrize("entry", _FACTS["human_duration"], ids=lambda e: str(e["seconds"]))
def test_durations(entry: dict[str, Any]):
    assert human_duration(entry["seconds"]) == entry["text"]


def test_kinds_without_columns_show_name_and_creation():
    role = rbac_v1_pb2.ClusterRole()
    role.metadata.name = "view"
    role.metadata.creationTimestamp.seconds = 1704164645
    version = ObjectVersion(scheme.CLUSTERROLES, role)
    table = table_printer.table_of_object(version, "None", _NOW)
    shown = [
        {k: v for k, v in column.items() if k != "description"}
        for column in table["columnDefinitions"]
    ]
    assert shown == _FACTS["table_default_columns"]
    assert table["rows"] == [{"cells": ["view", "2024-01-02T03:04:05Z"], "object": None}]


@pytest.mark.parametrize(
    ("status", "reason", "restarts"),
    [
        pytest.param({"phase": "Pending"}, "Pending", "0", id="pending"),
        pytest.param(
            {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "name": "c",
                        "ready": True,
                        "restartCount": 2,
                        "state": {"running": {}},
                        "lastState": {"terminated": {"finishedAt": "2024-01-02T03:04:05Z"}},
                    }
                ],
            },
            "Running",
            "2 (60s ago)",
            id="restarted a minute ago",
        ),
        pytest.param(
            {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [
                    {
                        "name": "c",
                        "state": {"terminated": {"exitCode": 0, "reason": "Completed"}},
                    },
                    {"name": "d", "ready": True, "state": {"running": {}}},
                ],
            },
            "NotReady",
            "0",
            id="one completed, one runs",
        ),
        pytest.param(
            {"phase": "Failed", "containerStatuses": [
                {"name": "c", "state": {"terminated": {"exitCode": 1, "signal": 9}}}]},
            "Signal:9",
            "0",
            id="killed by a signal",
        ),
    ],
)  # fmt: skip
def test_pod_status(status: dict[str, Any], reason: str, restarts: str):
    tree = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}, "status": status}
    version = _version("v1", "Pod", tree)
    cells = table_printer.table_of_object(version, "None", _NOW)["rows"][0]["cells"]
    assert cells[2:4] == [reason, restarts]


@pytest.mark.parametrize(
    ("include", "kind"), [("Metadata", "PartialObjectMetadata"), ("Object", "ConfigMap")]
)
def test_rows_hold_what_is_asked_for(include: str, kind: str):
    config_map = core_v1_pb2.ConfigMap()
    config_map.metadata.name = "cm"
    config_map.data["a"] = "1"
    version = ObjectVersion(scheme.CONFIGMAPS, config_map)
    table = table_printer.table_of_object(version, include, _NOW)
    held = json.loads(orjson.dumps(table))["rows"][0]["object"]
    assert held["kind"] == kind
    assert ("data" in held) == (include == "Object")
