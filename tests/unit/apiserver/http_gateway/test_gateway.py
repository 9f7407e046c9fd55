"""The door as a client sees it: verbs, encodings, errors, over a socket pair."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from apiserver.http_gateway import bodies
from apiserver.storage.version import ObjectVersion, bookmark
from apiserver.verbs.interface import WatchEvent
from podpath.api import errors, json_codec, scheme
from protos.k8s.core_v1_pb2 import ConfigMap, ConfigMapList, Pod
from protos.k8s.meta_v1_pb2 import PartialObjectMetadata
from protos.k8s.runtime_pb2 import Unknown
from tests.support.http_door import Door, open_door

JSON = "application/json"
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with open_door() as opened:
        yield opened


def _map(name: str, **data: str) -> ConfigMap:
    tree = {"metadata": {"name": name, "namespace": "default", "resourceVersion": "7"}}
    return json_codec.from_json(ConfigMap, tree | ({"data": data} if data else {})).message


def _pod(name: str, **spec: Any) -> Pod:
    tree = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
    return json_codec.from_json(Pod, tree).message


async def test_create(door: Door):
    answer = await door.request("POST", PODS, POD, user_agent="kubectl/v1.33", content_type=JSON)
    assert answer.status == 201
    assert answer.json["spec"]["containers"][0]["image"] == "i"
    verb, target, obj, options = door.verbs.calls[-1]
    assert (verb, target.namespace, obj.metadata.name) == ("create", "default", "p")
    assert options.field_manager == "kubectl"
    assert "server" not in answer.headers
    assert answer.headers["audit-id"]


async def test_protobuf_in_and_out(door: Door):
    raw = _pod("p", containers=[{"name": "c"}]).SerializeToString()
    unknown = Unknown(raw=raw)
    unknown.typeMeta.apiVersion, unknown.typeMeta.kind = "v1", "Pod"
    protobuf = "application/vnd.kubernetes.protobuf"
    body = b"k8s\0" + unknown.SerializeToString()
    answer = await door.request("POST", PODS, body, content_type=protobuf, accept=protobuf)
    assert (answer.status, answer.headers["content-type"]) == (201, protobuf)
    assert answer.body[:4] == b"k8s\0"
    assert Pod.FromString(Unknown.FromString(answer.body[4:]).raw).metadata.name == "p"


async def test_yaml_body(door: Door):
    body = b"kind: Pod\nmetadata: {name: p, labels: {1: 2024-01-01}}\nspec: {containers: []}\n"
    answer = await door.request("POST", PODS, body, content_type="application/yaml")
    assert answer.status == 201
    assert answer.json["metadata"]["labels"] == {"1": "2024-01-01"}


async def test_get_and_its_errors(door: Door):
    door.verbs.put(scheme.CONFIGMAPS, _map("a", k="v"))
    answer = await door.get(f"{MAPS}/a")
    assert (answer.status, answer.json["data"]) == (200, {"k": "v"})
    missing = await door.get(f"{MAPS}/b")
    assert missing.status == 404
    assert missing.body == (
        b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
        b'"message":"configmaps \\"b\\" not found","reason":"NotFound",'
        b'"details":{"name":"b","kind":"configmaps"},"code":404}\n'
    )
    shown = await door.get(f"{MAPS}/a", accept="application/yaml")
    assert b"kind: ConfigMap" in shown.body


async def test_lists_are_spliced(door: Door):
    for name in ("a", "b"):
        door.verbs.put(scheme.CONFIGMAPS, _map(name, k=name))
    answer = await door.get(f"{MAPS}?limit=5")
    assert answer.body.startswith(
        b'{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"100"},"items":['
        b'{"metadata":{"name":"a"'
    )
    assert [item["data"]["k"] for item in answer.json["items"]] == ["a", "b"]
    assert door.verbs.calls[-1][2].limit == 5
    protobuf = await door.get(MAPS, accept="application/vnd.kubernetes.protobuf")
    unknown = Unknown.FromString(protobuf.body[4:])
    listed = ConfigMapList.FromString(unknown.raw)
    assert (unknown.typeMeta.kind, len(listed.items)) == ("ConfigMapList", 2)
    assert listed.metadata.resourceVersion == "100"


async def test_tables_and_partial_lists(door: Door):
    door.verbs.put(scheme.CONFIGMAPS, _map("a", k="v"))
    table = (await door.get(MAPS, accept=TABLE)).json
    assert table["rows"][0]["cells"] == ["a", 1, "<unknown>"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    listed = (await door.get(MAPS, accept=partial)).json
    assert listed["items"][0]["metadata"]["name"] == "a"
    assert "data" not in listed["items"][0]
    bad = await door.get(f"{MAPS}?includeObject=All", accept=TABLE)
    assert bad.json["message"] == 'unrecognized includeObject value: "All"'


async def test_large_lists_are_compressed_when_asked(door: Door):
    for index in range(40):
        door.verbs.put(scheme.CONFIGMAPS, _map(f"m{index}", k="x" * 5000))
    plain = await door.get(MAPS)
    zipped = await door.get(MAPS, accept_encoding="gzip")
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    small = await door.get(f"{MAPS}/m1", accept_encoding="gzip")
    assert "content-encoding" not in small.headers


async def test_update_checks_the_name(door: Door):
    answer = await door.request("PUT", f"{MAPS}/a", {"metadata": {"name": "b"}})
    assert (answer.status, answer.json["message"]) == (
        400,
        "the name of the object (b) does not match the name on the URL (a)",
    )
    moved = {"metadata": {"name": "a", "namespace": "other"}}
    answer = await door.request("PUT", f"{MAPS}/a", moved)
    assert answer.json["message"] == (
        "the namespace of the object (other) does not match the namespace on the request (default)"
    )


async def test_patch(door: Door):
    door.verbs.put(scheme.CONFIGMAPS, _map("a"))
    merge = "application/merge-patch+json"
    answer = await door.request("PATCH", f"{MAPS}/a", {"data": {"x": None}}, content_type=merge)
    assert answer.status == 200
    assert door.verbs.calls[-1][2:4] == (merge, {"data": {"x": None}})
    strict = await door.request(
        "PATCH", f"{MAPS}/a?fieldValidation=Strict", {"foo": 1}, content_type=merge
    )
    assert (strict.status, strict.json["message"]) == (
        422,
        ' "" is invalid: patch: Invalid value: "map[foo:1]": strict decoding error: '
        'unknown field "foo"',
    )


async def test_directives_are_no_unknown_fields(door: Door):
    door.verbs.put(scheme.PODS, _pod("p"))
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "gone": None},
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}],
            "containers": [{"$patch": "delete", "name": "c"}],
        },
    }
    strategic = "application/strategic-merge-patch+json"
    answer = await door.request(
        "PATCH", f"{PODS}/p?fieldValidation=Strict", patch, content_type=strategic
    )
    assert answer.status == 200


async def test_delete(door: Door):
    door.verbs.put(scheme.PODS, _pod("p"))
    body = {"kind": "DeleteOptions", "apiVersion": "apps/v1", "gracePeriodSeconds": 3}
    answer = await door.request("DELETE", f"{PODS}/p?dryRun=All", body)
    assert answer.json["status"] == "Success"
    _, _, options, dry_run = door.verbs.calls[-1]
    assert (options.gracePeriodSeconds, dry_run) == (3, True)
    await door.request("DELETE", f"{PODS}?labelSelector=a%3Db")
    assert door.verbs.calls[-1][3].labels == "a=b"


@pytest.mark.parametrize("path", [f"{PODS}/p/binding", "/api/v1/namespaces/default/bindings"])
async def test_bind(door: Door, path: str):
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    answer = await door.request("POST", path, body)
    assert (answer.status, answer.json["status"]) == (201, "Success")
    binding = door.verbs.calls[-1][1]
    assert (binding.metadata.name, binding.metadata.namespace) == ("p", "default")
    assert binding.target.name == "n"


async def test_bind_checks_the_name(door: Door):
    answer = await door.request("POST", f"{PODS}/p/binding", {"metadata": {"name": "q"}})
    assert answer.status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", PODS),
        ("POST", f"{PODS}/p"),
        ("POST", "/api/v1/pods"),
        ("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
        ("DELETE", f"{PODS}/p/status"),
        ("DELETE", "/api/v1/namespaces"),
        ("OPTIONS", PODS),
    ],
)
async def test_methods_that_a_path_does_not_have(door: Door, method: str, path: str):
    answer = await door.request(method, path)
    assert (answer.status, answer.json["reason"]) == (405, "MethodNotAllowed")
    expected = "the server does not allow this method on the requested resource"
    assert answer.json["message"] == expected


@pytest.mark.parametrize("path", ["/foo", "/api/v1/foos", "/apis/foo/v1", "/apis/foo/v1/bars"])
async def test_paths_that_lead_nowhere(door: Door, path: str):
    answer = await door.get(path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


async def test_who_asks(door: Door):
    unknown = await door.get(PODS, authorization="Bearer bad")
    assert (unknown.status, unknown.json["message"]) == (401, "Unauthorized")
    anonymous = await door.get("/version", authorization="")
    assert anonymous.json["message"] == (
        'forbidden: User "system:anonymous" cannot get path "/version"'
    )
    assert (await door.get("/healthz", authorization="")).body == b"ok"


async def test_warnings(door: Door):
    body = POD | {"foo": 1, 'b"r': 2}
    answer = await door.request("POST", PODS, body)
    assert answer.status == 201
    assert answer.all("warning") == [
        '299 - "unknown field \\"foo\\""',
        '299 - "unknown field \\"b\\\\\\"r\\""',
    ]
    ignored = await door.request("POST", f"{PODS}?fieldValidation=Ignore", body)
    assert ignored.all("warning") == []


BAD_BODIES = [
    pytest.param(
        b'{"kind":"Pod",',
        JSON,
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; "
        'json parse error: unexpected end of JSON input ({"kind":"Pod",)',
        id="cut JSON",
    ),
    pytest.param(
        b"{kind: Pod}",
        JSON,
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; "
        "json parse error: invalid character 'k' looking for beginning of object key string "
        "({kind: Pod})",
        id="no JSON",
    ),
    pytest.param(
        b"a: b: c",
        "application/yaml",
        "the object provided is unrecognized (must be of type Pod): yaml: line 1: mapping values "
        "are not allowed here (613a20623a2063)",
        id="bad YAML",
    ),
    pytest.param(
        b'{"kind":"Foo","apiVersion":"v1"}',
        JSON,
        'Foo in version "v1" cannot be handled as a Pod: no kind "Foo" is registered for version '
        '"v1" in scheme "pkg/runtime/scheme.go:100"',
        id="unknown kind",
    ),
    pytest.param(
        b'{"spec":{"foo":1}}',
        JSON,
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'unknown field "spec.foo"',
        id="unknown field",
    ),
    pytest.param(
        b'{"spec":{"nodeName":"a","nodeName":"b"}}',
        JSON,
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'duplicate field "spec.nodeName"',
        id="duplicate field",
    ),
    pytest.param(
        b'{"spec":{"nodeName":5}}',
        JSON,
        'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go '
        "struct field PodSpec.spec.nodeName of type string",
        id="wrong type",
    ),
    pytest.param(
        b"{}",
        "application/vnd.kubernetes.protobuf",
        "the object provided is unrecognized (must be of type Pod): provided data does not appear "
        "to be a protobuf message, expected prefix [107 56 115 0] (7b7d)",
        id="no protobuf",
    ),
]


@pytest.mark.parametrize(("body", "content_type", "message"), BAD_BODIES)
async def test_bad_bodies(door: Door, body: bytes, content_type: str, message: str):
    answer = await door.request(
        "POST", f"{PODS}?fieldValidation=Strict", body, content_type=content_type
    )
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert answer.json["message"] == message
    assert door.verbs.calls == []


async def test_unknown_content_type(door: Door):
    answer = await door.request("POST", PODS, b"x", content_type="text/plain")
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")


async def test_a_body_that_is_too_large(door: Door):
    limit = bodies.BODY_BYTES_MAX
    await door.send("POST", PODS, b"", content_length=str(limit + 1))
    answer = await door.head()
    assert answer.status == 413
    body = json.loads(await door.reader.readexactly(int(answer.headers["content-length"])))
    assert body["message"] == "Request entity too large: limit is 3145728"
    assert body["reason"] == "RequestEntityTooLarge"


async def test_a_chunked_body_that_is_too_large(door: Door):
    await door.send("POST", PODS, b"", content_length="", transfer_encoding="chunked")
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    async def send() -> None:
        for _ in range(49):
            door.writer.write(piece)
            await door.writer.drain()

    sending = asyncio.ensure_future(send())
    assert (await door.head()).status == 413
    sending.cancel()
    await asyncio.wait([sending])


async def test_errors_of_verbs(door: Door):
    door.verbs.inject_error(errors.too_many_requests("slow down", 3))
    answer = await door.get(PODS)
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")
    door.verbs.inject_error(RuntimeError("secret"))
    answer = await door.get(PODS)
    assert answer.status == 500
    assert b"secret" not in answer.body
    # The connection is still good.
    assert (await door.get(PODS)).status == 200


async def test_watch(door: Door):
    version = ObjectVersion(scheme.CONFIGMAPS, _map("a", k="v"))
    door.verbs.events = [
        [WatchEvent("ADDED", version), WatchEvent("MODIFIED", version)],
        [WatchEvent("BOOKMARK", bookmark(scheme.CONFIGMAPS, 9))],
    ]
    await door.send("GET", f"{MAPS}?watch=true&resourceVersion=5&allowWatchBookmarks=true")
    head = await door.head()
    assert (head.status, head.headers["content-type"]) == (200, JSON)
    first = [json.loads(line) for line in (await door.chunk()).splitlines()]
    assert [event["type"] for event in first] == ["ADDED", "MODIFIED"]
    assert first[0]["object"]["data"] == {"k": "v"}
    event = json.loads(await door.chunk())
    assert (event["type"], event["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", "9")
    options = door.verbs.calls[-1][2]
    assert (options.resource_version, options.allow_bookmarks) == ("5", True)
    assert 1800 <= options.timeout_s <= 3600
    # The client goes: the watch is closed.
    door.writer.close()
    async with asyncio.timeout(30):
        await door.verbs.watch_closed.wait()


async def test_an_idle_watch_begins_at_once(door: Door):
    await door.send("GET", f"{MAPS}?watch=1")
    async with asyncio.timeout(30):
        assert (await door.head()).status == 200


async def test_a_watch_that_expired(door: Door):
    door.verbs.events = [errors.expired("too old resource version: 1 (2)")]
    answer = await door.get(f"{MAPS}?watch=true&resourceVersion=1")
    assert answer.status == 200
    event = json.loads(answer.body)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert event["object"]["reason"] == "Expired"


async def test_a_watch_that_is_refused(door: Door):
    door.verbs.inject_error(errors.forbidden("", "configmaps", "", "no"))
    answer = await door.get(f"{MAPS}?watch=true")
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")


async def test_a_watch_ends_in_time(door: Door):
    answer = await door.get(f"{MAPS}?watch=true&timeoutSeconds=1")
    assert (answer.status, answer.body) == (200, b"")
    # Its connection serves on.
    assert (await door.get(MAPS)).status == 200


async def test_watching_tables_shows_columns_once(door: Door):
    version = ObjectVersion(scheme.CONFIGMAPS, _map("a"))
    event = WatchEvent("ADDED", version)
    door.verbs.events = [[event, event]]
    answer = await door.get(f"{MAPS}?watch=true&timeoutSeconds=1", accept=TABLE)
    first, second = (json.loads(line)["object"] for line in answer.body.splitlines())
    assert len(first["columnDefinitions"]) == 3
    assert second["columnDefinitions"] is None
    assert second["rows"][0]["cells"][0] == "a"


async def test_watching_metadata_in_protobuf(door: Door):
    version = ObjectVersion(scheme.CONFIGMAPS, _map("a", k="v"))
    door.verbs.events = [[WatchEvent("ADDED", version)]]
    accept = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    answer = await door.get(f"{MAPS}?watch=true&timeoutSeconds=1", accept=accept)
    assert answer.headers["content-type"] == "application/vnd.kubernetes.protobuf;stream=watch"
    encoded = answer.body[answer.body.index(b"k8s\0") + 4 :]
    unknown = Unknown.FromString(encoded)
    assert unknown.typeMeta.kind == "PartialObjectMetadata"
    assert PartialObjectMetadata.FromString(unknown.raw).metadata.name == "a"


async def test_legacy_watch_paths(door: Door):
    await door.get("/api/v1/watch/namespaces/default/pods/p?timeoutSeconds=1")
    verb, target, options = door.verbs.calls[-1]
    assert (verb, target.name, options.selectors.fields) == ("watch", "", "metadata.name=p")


async def test_a_request_that_is_no_http(door: Door):
    door.writer.write(b"hello\r\n\r\n")
    answer = await door.head()
    assert answer.status == 400
    assert "server" not in answer.headers


async def test_head(door: Door):
    answer = await door.request("HEAD", MAPS)
    assert answer.status == 200
    assert (await door.get(MAPS)).status == 200
