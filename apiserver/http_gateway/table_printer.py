"""Tables: what `kubectl get` prints, made by the server so that every client shows the same.

Source: k8s.io/kubernetes pkg/printers/tablegenerator.go;
k8s.io/apiserver pkg/registry/rest/table.go (kinds without columns of their own).
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from google.protobuf.message import Message

from apiserver.http_gateway.partial_metadata import metadata_of, partial_tree
from apiserver.http_gateway.printers import pod
from apiserver.http_gateway.printers.by_kind import PRINTERS, VERSIONED, Printer
from apiserver.http_gateway.responses import list_metadata
from apiserver.verbs.interface import ListResult, Version
from podpath.api import go_text
from podpath.api.scheme import PODS, Resource

Tree = dict[str, Any]

_DESCRIPTIONS = {
    "Name": "The object's name, unique among those of its kind in its namespace.",
    "Age": "Time since the object was created.",
    "Created At": "When the object was created.",
}


def table_of_list(
    resource: Resource[Message], result: ListResult, include: str, now: datetime
) -> Tree:
    """`include` is None, Metadata or Object: what each row holds besides its cells."""
    return _table(resource, result.items, list_metadata(result), include, now)


def table_of_object(version: Version, include: str, now: datetime) -> Tree:
    metadata = {"resourceVersion": metadata_of(version).resourceVersion}
    return _table(version.resource, [version], metadata, include, now)


def _table(
    resource: Resource[Message],
    versions: Sequence[Version],
    metadata: Tree,
    include: str,
    now: datetime,
) -> Tree:
    columns, printer = _printer(resource)
    conditions = pod.conditions if resource is PODS else None
    rows = []
    for version in versions:
        row: Tree = {"cells": printer(version.object, now)}
        if conditions is not None:
            found = conditions(version.object)
            if found:
                row["conditions"] = found
        row["object"] = _row_object(version, include)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }


def _row_object(version: Version, include: str) -> Any:
    if include == "None":
        return None
    if include == "Object":
        return orjson.Fragment(version.json_bytes)
    return partial_tree(version)


@cache
def _printer(resource: Resource[Message]) -> tuple[list[Tree], Printer]:
    found = PRINTERS.get((resource.group, resource.kind))
    if found is None:
        return columns_of("Name Created_At:date"), _default_cells
    columns, printer = found
    versioned = VERSIONED.get((resource.group, resource.version, resource.kind))
    return columns_of(columns), versioned or printer


def columns_of(text: str) -> list[Tree]:
    """Column definitions from their short form (see `printers/by_kind.py`)."""
    return [_column(word) for word in text.split()]


def _column(word: str) -> Tree:
    name, *facts = word.removeprefix("+").replace("_", " ").split(":")
    # A Scale's name has no format, as it is no object of its own.
    format_ = facts[1] if len(facts) > 1 else ("name" if name == "Name" else "")
    return {
        "name": name,
        "type": facts[0] if facts else "string",
        "format": format_,
        "description": _DESCRIPTIONS.get(name, ""),
        "priority": 1 if word.startswith("+") else 0,
    }


def _default_cells(obj: Any, now: datetime) -> list[Any]:
    created = obj.metadata.creationTimestamp.seconds
    return [obj.metadata.name, go_text.time_text(created) if created else None]
