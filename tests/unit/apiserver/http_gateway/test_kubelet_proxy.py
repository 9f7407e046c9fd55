"""Logs and streams: translation by table, passing through against a small kubelet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from apiserver.http_gateway import pod_streams
from apiserver.http_gateway.kubelet_proxy import KubeletProxy
from apiserver.http_gateway.request import parse_query
from podpath.api import json_codec, scheme
from podpath.api.errors import ApiError
from protos.k8s.core_v1_pb2 import Node, Pod
from tests.support.http_door import Door, open_door

PATH = "/api/v1/namespaces/default/pods/p"


def _pod(
    *names: str, init: tuple[str, ...] = (), ephemeral: tuple[str, ...] = (), node: str = "n"
) -> Pod:
    spec: dict[str, Any] = {"containers": [{"name": name} for name in names], "nodeName": node}
    spec["initContainers"] = [{"name": name} for name in init]
    spec["ephemeralContainers"] = [{"name": name} for name in ephemeral]
    tree = {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}
    return json_codec.from_json(Pod, tree).message


@pytest.mark.parametrize(
    ("pod", "container", "expected"),
    [
        pytest.param(_pod("a"), "", "a", id="the only one"),
        pytest.param(_pod("a", "b"), "b", "b", id="named"),
        pytest.param(_pod("a", init=("i",)), "i", "i", id="init container"),
        pytest.param(_pod("a", ephemeral=("e",)), "e", "e", id="ephemeral container"),
        pytest.param(_pod("a"), "x", ApiError, id="container x is not valid for pod p"),
        pytest.param(
            _pod("a", "b"),
            "",
            ApiError,
            id="a container name must be specified for pod p, choose one of: [a b]",
        ),
        pytest.param(
            _pod("a", "b", init=("i",)),
            "",
            ApiError,
            id="a container name must be specified for pod p, choose one of: [a b] "
            "or one of the init containers: [i]",
        ),
    ],
)
def test_choosing_a_container(pod: Pod, container: str, expected: Any, request):
    if expected is not ApiError:
        assert pod_streams.choose_container(pod, container) == expected
        return
    with pytest.raises(ApiError) as found:
        pod_streams.choose_container(pod, container)
    assert (found.value.code, found.value.status.message) == (400, request.node.callspec.id)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "/containerLogs/default/p/a"),
        (
            "follow=true&tailLines=5&timestamps=true&previous=true&sinceSeconds=3",
            "/containerLogs/default/p/a?follow=true&previous=true&timestamps=true"
            "&sinceSeconds=3&tailLines=5",
        ),
        (
            "sinceTime=2024-01-02T03:04:05Z",
            "/containerLogs/default/p/a?sinceTime=2024-01-02T03%3A04%3A05Z",
        ),
    ],
)
def test_log_paths(query: str, expected: str):
    assert pod_streams.log_path(_pod("a"), parse_query(query)) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "tailLines=-1",
            'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: '
            "must be greater than or equal to 0",
        ),
        (
            "sinceSeconds=0",
            'PodLogOptions "p" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0',
        ),
    ],
)
def test_bad_log_options(query: str, message: str):
    with pytest.raises(ApiError) as found:
        pod_streams.log_path(_pod("a"), parse_query(query))
    assert (found.value.code, found.value.status.message) == (422, message)


@pytest.mark.parametrize(
    ("subresource", "query", "expected"),
    [
        (
            "exec",
            "command=sh&command=-c&command=echo+%26&stdin=true&stdout=true&tty=true",
            "/exec/default/p/a?input=1&output=1&tty=1&command=sh&command=-c&command=echo+%26",
        ),
        ("attach", "stdout=true&stderr=true", "/attach/default/p/a?output=1&error=1"),
        ("portforward", "ports=80&ports=443", "/portForward/default/p?port=80%2C443"),
        ("portforward", "", "/portForward/default/p"),
    ],
)
def test_stream_paths(subresource: str, query: str, expected: str):
    assert pod_streams.stream_path(_pod("a"), subresource, parse_query(query)) == expected


def test_a_pod_without_a_host():
    with pytest.raises(ApiError) as found:
        pod_streams.stream_path(_pod("a", node=""), "exec", {})
    assert found.value.status.message == "pod p does not have a host assigned"


class SmallKubelet:
    """Answers one request for each connection with prepared bytes, then echoes."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        if b" 101 " in self.answer:
            while data := await reader.read(65536):
                writer.write(data.upper())
        writer.close()


@asynccontextmanager
async def _door_to(kubelet: SmallKubelet) -> AsyncIterator[Door]:
    server = await asyncio.start_server(kubelet.serve, "127.0.0.1", 0)
    kubelet.port = server.sockets[0].getsockname()[1]
    tree = {
        "metadata": {"name": "n"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}},
        },
    }
    async with server, open_door(_PlainKubelets(None)) as door:
        door.verbs.put(scheme.NODES, json_codec.from_json(Node, tree).message)
        door.verbs.put(scheme.PODS, _pod("a"))
        yield door


class _PlainKubelets(KubeletProxy):
    """Without TLS."""

    scheme = "http"


async def test_logs_are_streamed():
    kubelet = SmallKubelet(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nline1\n")
    async with _door_to(kubelet) as door:
        answer = await door.get(f"{PATH}/log?tailLines=1")
        assert (answer.status, answer.body) == (200, b"line1\n")
        assert answer.headers["content-type"] == "text/plain"
        assert door.verbs.calls[0][0] == "connect"
    assert kubelet.requests[0].startswith(b"GET /containerLogs/default/p/a?tailLines=1 HTTP/1.1")


@pytest.mark.parametrize(
    ("protocol", "opcode", "content"),
    [
        pytest.param("binary.k8s.io", 0x82, b"line1\n", id="binary"),
        pytest.param("base64.binary.k8s.io", 0x81, b"bGluZTEK", id="base64"),
        pytest.param("", 0x82, b"line1\n", id="none named"),
    ],
)
async def test_logs_over_websocket(protocol: str, opcode: int, content: bytes):
    kubelet = SmallKubelet(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nline1\n")
    async with _door_to(kubelet) as door:
        await door.send(
            "GET",
            f"{PATH}/log",
            connection="Upgrade",
            upgrade="websocket",
            sec_websocket_version="13",
            sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
            sec_websocket_protocol=protocol,
        )
        head = await door.head()
        assert head.status == 101
        assert head.headers.get("sec-websocket-protocol", "") == protocol
        message = await door.reader.readexactly(2 + len(content))
        assert message == bytes((opcode, len(content))) + content
        # The end of the log is the end of the connection: 1000.
        assert await door.reader.readexactly(4) == b"\x88\x02\x03\xe8"


async def test_log_of_a_pod_without_a_host_is_empty():
    async with _door_to(SmallKubelet(b"")) as door:
        door.verbs.put(scheme.PODS, _pod("a", node=""))
        answer = await door.get(f"{PATH}/log")
        assert (answer.status, answer.body) == (200, b"")


async def test_a_kubelets_error_becomes_a_status():
    text = b'container "a" in pod "p" is waiting to start: ContainerCreating'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(text)
    async with _door_to(SmallKubelet(head + text)) as door:
        answer = await door.get(f"{PATH}/log")
        assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
        assert answer.json["message"] == text.decode()


@pytest.mark.parametrize(("method", "upgrade"), [("GET", "websocket"), ("POST", "SPDY/3.1")])
async def test_an_upgraded_connection_passes_through(method: str, upgrade: str):
    answer = (
        f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n"
        "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\nearly"
    )
    kubelet = SmallKubelet(answer.encode())
    async with _door_to(kubelet) as door:
        await door.send(
            method,
            f"{PATH}/exec?command=sh&stdout=true",
            connection="Upgrade",
            upgrade=upgrade,
            sec_websocket_protocol="v5.channel.k8s.io",
            sec_websocket_key="abc",
            sec_websocket_version="13",
        )
        head = await door.head()
        assert (head.status, head.headers["upgrade"]) == (101, upgrade)
        assert await door.reader.readexactly(5) == b"early"
        for piece in (b"hello", b"\x00\x01world" * 20000):
            door.writer.write(piece)
            assert await door.reader.readexactly(len(piece)) == piece.upper()
        assert door.verbs.calls[0][2] == ("create" if method == "POST" else "get")
    request = kubelet.requests[0].lower()
    assert b"sec-websocket-protocol: v5.channel.k8s.io" in request
    assert b"authorization" not in request


async def test_exec_refused_by_the_kubelet():
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    async with _door_to(SmallKubelet(head)) as door:
        await door.send("POST", f"{PATH}/exec?command=sh", connection="Upgrade", upgrade="SPDY/3.1")
        assert (await door.head()).status == 403


async def test_exec_needs_an_upgrade():
    async with _door_to(SmallKubelet(b"")) as door:
        answer = await door.request("POST", f"{PATH}/exec?command=sh")
        assert answer.json["message"] == "Upgrade request required"


async def test_a_kubelet_that_is_gone():
    kubelet = SmallKubelet(b"")
    async with _door_to(kubelet) as door:
        node = door.verbs.objects["nodes", "", "n"].object
        node.status.daemonEndpoints.kubeletEndpoint.Port = 1
        answer = await door.get(f"{PATH}/log")
        assert answer.status == 500
        assert "error dialing backend" in answer.json["message"]


async def test_nodes_proxy():
    kubelet = SmallKubelet(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    async with _door_to(kubelet) as door:
        answer = await door.get("/api/v1/nodes/n/proxy/stats/summary?a=b")
        assert (answer.body, answer.headers["content-type"]) == (b"{}", "application/json")
    assert kubelet.requests[0].startswith(b"GET /stats/summary?a=b HTTP/1.1")
