"""Discovery, OpenAPI, version and health."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from apiserver.http_gateway import openapi_gnostic
from apiserver.http_gateway.discovery import Discovery
from apiserver.http_gateway.openapi_documents import v2_document, v3_document
from podpath.api import scheme
from podpath.api.wire import read_varint
from tests.support.http_door import Door, open_door

_GOLDEN = Path(__file__).parents[3] / "golden" / "rest-facts.json"
_FACTS = json.loads(_GOLDEN.read_text())
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as opened:
        yield opened


def _expected(facts: dict[str, Any], group: str, version: str) -> dict[str, Any]:
    """A resource of the published lists, in aggregated discovery's form."""
    expected = {
        "resource": facts["name"],
        "responseKind": {"group": group, "version": version, "kind": facts["kind"]},
        "scope": "Namespaced" if facts["namespaced"] else "Cluster",
        "singularResource": facts["singular"],
        "verbs": facts["verbs"],
    }
    if facts["shortNames"]:
        expected["shortNames"] = facts["shortNames"]
    if facts["categories"]:
        expected["categories"] = facts["categories"]
    if facts["subresources"]:
        expected["subresources"] = [
            {
                "subresource": sub["name"],
                "responseKind": {
                    "group": sub.get("group", group),
                    "version": sub.get("version", version),
                    "kind": sub["kind"],
                },
                "verbs": sub["verbs"],
            }
            for sub in facts["subresources"]
        ]
    return expected


def test_aggregated_discovery_is_as_published():
    discovery = Discovery(scheme.resources(), "x:1")
    published = {
        (listed["groupVersion"], resource["name"]): resource
        for listed in _FACTS["api_resources"]
        for resource in listed["resources"]
    }
    seen = 0
    for path in ("/api", "/apis"):
        document = discovery.find(path, _AGGREGATED)
        assert document is not None
        for group in orjson.loads(document.body)["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                group_version = f"{name}/{version['version']}" if name else version["version"]
                for resource in version["resources"]:
                    facts = published[group_version, resource["resource"]]
                    assert resource == _expected(facts, name, version["version"])
                    seen += 1
    assert seen == len(list(scheme.resources()))


def test_storage_version_hashes():
    discovery = Discovery(scheme.resources(), "x:1")
    for listed in _FACTS["api_resources"]:
        group_version = listed["groupVersion"]
        root = "apis" if "/" in group_version else "api"
        document = discovery.find(f"/{root}/{group_version}", "")
        if document is None:
            continue
        hashes = {
            resource["name"]: resource.get("storageVersionHash")
            for resource in orjson.loads(document.body)["resources"]
        }
        for resource in listed["resources"]:
            if resource["name"] in hashes:
                assert hashes[resource["name"]] == resource.get("storageVersionHash")


def test_group_order_and_preferred_versions():
    discovery = Discovery(scheme.resources(), "x:1")
    document = discovery.find("/apis", "")
    assert document is not None
    groups = orjson.loads(document.body)["groups"]
    ordered = [g["name"] for g in _FACTS["api_groups"]["order"]]
    served = [group["name"] for group in groups]
    assert served == [name for name in ordered if name in served]
    preferred = {group["name"]: group["preferredVersion"]["version"] for group in groups}
    assert preferred["autoscaling"] == "v2"


async def test_kubectl_gets_the_form_it_prefers(door: Door):
    accept = ",".join(_FACTS["kubectl"]["discovery_accept"])
    answer = await door.get("/apis", accept=accept)
    assert answer.headers["content-type"] == _AGGREGATED
    assert answer.json["apiVersion"] == "apidiscovery.k8s.io/v2"
    beta = await door.get("/apis", accept=accept.split(",")[1])
    assert beta.json["apiVersion"] == "apidiscovery.k8s.io/v2beta1"
    assert (await door.get("/apis")).json["kind"] == "APIGroupList"
    again = await door.get("/apis", accept=accept, if_none_match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1"])
async def test_legacy_discovery(door: Door, path: str):
    assert (await door.get(path)).status == 200


async def test_version(door: Door):
    version = (await door.get("/version")).json
    assert sorted(version) == _FACTS["kubectl"]["version_fields"]
    assert (version["major"], version["minor"]) == ("1", "33")


async def test_health(door: Door):
    assert (await door.get("/readyz")).body == b"ok"
    verbose = await door.get("/readyz?verbose")
    assert verbose.body == b"[+]ping ok\n[+]cache ok\nreadyz check passed\n"
    door.ready["cache"] = False
    failed = await door.get("/readyz")
    assert failed.status == 500
    assert b"[-]cache failed: reason withheld\nreadyz check failed\n" in failed.body
    assert (await door.get("/readyz?exclude=cache")).status == 200
    assert (await door.get("/readyz/ping")).body == b"ok"
    assert (await door.get("/livez")).body == b"ok"
    assert (await door.get("/readyz/nothing")).status == 404


async def test_metrics(door: Door):
    await door.get("/version")
    assert b"apiserver_request_total" in (await door.get("/metrics")).body


async def test_openapi_v3_is_cached_by_hash(door: Door):
    root = (await door.get("/openapi/v3")).json
    url = root["paths"]["apis/apps/v1"]["serverRelativeURL"]
    answer = await door.get(url)
    assert "immutable" in answer.headers["cache-control"]
    assert "/apis/apps/v1/namespaces/{namespace}/deployments" in answer.json["paths"]
    moved = await door.get("/openapi/v3/apis/apps/v1?hash=OLD")
    assert (moved.status, moved.headers["location"]) == (301, url)
    assert (await door.get("/openapi/v3/apis/foo/v1")).status == 404


def _resources(group: str) -> list[Any]:
    return [resource for resource in scheme.resources() if resource.group == group]


def _references(tree: Any) -> set[str]:
    if isinstance(tree, dict):
        found = {tree["$ref"]} if "$ref" in tree else set()
        return found.union(*(_references(value) for value in tree.values()))
    if isinstance(tree, list):
        return set().union(*(_references(item) for item in tree))
    return set()


def test_openapi_v3_is_closed_and_marked():
    document = v3_document(_resources(""))
    schemas = document["components"]["schemas"]
    names = {reference.removeprefix("#/components/schemas/") for reference in _references(document)}
    assert names <= set(schemas)
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "version": "v1", "kind": "Pod"}]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    volumes = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"]
    assert volumes["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    assert schemas["io.k8s.api.core.v1.PodSpec"]["required"] == ["containers"]
    patch = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    assert patch["x-kubernetes-action"] == "patch"
    probe = schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    assert probe["format"] == "int-or-string"


def test_operation_ids_are_unique():
    document = v3_document(_resources("apps"))
    ids = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(ids) == len(set(ids))


def _fields(data: bytes) -> list[tuple[int, Any]]:
    found, at = [], 0
    while at < len(data):
        key, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if key & 7 == 2:
            found.append((key >> 3, data[at : at + value]))
            at += value
        else:
            found.append((key >> 3, value))
    return found


def test_openapi_v2_in_gnostic_form():
    document = v2_document(_resources("coordination.k8s.io"))
    fields = dict(_fields(openapi_gnostic.encode(document)))
    assert fields[1] == b"2.0"
    definitions = [dict(_fields(value)) for _, value in _fields(fields[9])]
    assert [d[1].decode() for d in definitions] == list(document["definitions"])
    lease = next(d for d in definitions if d[1] == b"io.k8s.api.coordination.v1.Lease")
    schema = dict(_fields(lease[2]))
    extension = dict(_fields(schema[31]))
    assert extension[1] == b"x-kubernetes-group-version-kind"
    yaml = dict(_fields(extension[2]))[2]
    assert json.loads(yaml) == [{"group": "coordination.k8s.io", "version": "v1", "kind": "Lease"}]


async def test_openapi_v2_by_accept(door: Door):
    asked = _FACTS["kubectl"]["openapi_v2_accept"]
    answer = await door.get(
        "/openapi/v2", accept=f"{asked},application/json", accept_encoding="gzip"
    )
    assert answer.headers["content-type"].startswith("application/com.github.proto-openapi.spec.v2")
    assert (await door.get("/openapi/v2")).json["swagger"] == "2.0"
    assert (await door.get("/openapi/v2", accept="text/html")).status == 406
