"""The HTTPS door on real sockets: TLS, certificates, uvloop, and streams to a kubelet over TLS."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from apiserver.authentication.certificates import CertificateUsers
from apiserver.http_gateway.context import Context
from apiserver.http_gateway.gateway import Gateway
from apiserver.http_gateway.kubelet_proxy import KubeletProxy, kubelet_tls
from apiserver.http_gateway.server import listening, tls_context
from apiserver.http_gateway.system_paths import SystemPaths
from apiserver.verbs.interface import UserInfo
from podpath.api import json_codec, scheme
from podpath.component_base.clock import SystemClock
from podpath.component_base.pki import ClusterNames, ClusterPki, NodeNames, ensure_cluster_pki
from protos.k8s.core_v1_pb2 import Node, Pod
from tests.support.http_door import FakeAuthenticator, FakeAuthorizer, FakeVerbs

pytestmark = pytest.mark.integration

_NAMES = ClusterNames(nodes=(NodeNames("n"),))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ClusterPki:
    return ensure_cluster_pki(tmp_path_factory.mktemp("pki"), _NAMES, SystemClock())


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> ClusterPki:
    return ensure_cluster_pki(tmp_path_factory.mktemp("foreign"), _NAMES, SystemClock())


class _Authenticator(FakeAuthenticator):
    """Certificates first, then the fake's token."""

    def __init__(self) -> None:
        self._certificates = CertificateUsers(SystemClock())
        self.seen: list[str] = []

    def authenticate(self, peer_cert_der: bytes | None, authorization: str | None) -> UserInfo:
        if peer_cert_der:
            user = self._certificates.user_of(peer_cert_der)
            assert user is not None
            self.seen.append(user.name)
            return UserInfo("jane")
        return super().authenticate(peer_cert_der, authorization)


class _Door:
    def __init__(self, pki: ClusterPki) -> None:
        self.verbs = FakeVerbs()
        self.authenticator = _Authenticator()
        self.port = 0
        self._pki = pki

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        context = Context(
            verbs=self.verbs,  # type: ignore[arg-type]
            authenticator=self.authenticator,
            authorizer=FakeAuthorizer(),
            resources=tuple(scheme.resources()),
            clock=SystemClock(),
        )
        shown = self._pki.apiserver_kubelet_client
        kubelets = KubeletProxy(
            kubelet_tls(str(self._pki.ca.certificate), str(shown.certificate), str(shown.key))
        )
        own = self._pki.apiserver
        tls = tls_context(own.certificate, own.key, self._pki.ca.certificate)
        gateway = Gateway(context, SystemPaths(context, "x"), kubelets)
        async with listening(gateway, "127.0.0.1", 0, tls) as self.port:
            yield

    async def connect(
        self, user: Path | None = None, maximum: ssl.TLSVersion | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = ssl.create_default_context(cafile=str(self._pki.ca.certificate))
        if user is not None:
            tls.load_cert_chain(f"{user}.crt", f"{user}.key")
        if maximum is not None:
            tls.maximum_version = maximum
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)


async def _answer(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
) -> bytes:
    reader, writer = streams
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
    return head + (await reader.readexactly(int(length)) if length else b"")


def _on_uvloop(pki: ClusterPki, test: Callable[[_Door], Awaitable[None]]) -> None:
    async def run() -> None:
        door = _Door(pki)
        async with asyncio.timeout(20), door.serving():
            await test(door)

    uvloop.run(run())


def test_a_client_certificate_says_who_asks(pki: ClusterPki):
    async def test(door: _Door) -> None:
        streams = await door.connect(pki.directory / "users" / "admin")
        for _ in range(2):
            answer = await _answer(streams, b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"server:" not in answer.lower()
        assert door.authenticator.seen == ["kubernetes-admin"] * 2
        streams[1].close()

    _on_uvloop(pki, test)


def test_without_a_certificate_a_token_counts(pki: ClusterPki):
    async def test(door: _Door) -> None:
        streams = await door.connect()
        request = b"GET /version HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n"
        assert (await _answer(streams, request % b"good")).startswith(b"HTTP/1.1 200")
        assert (await _answer(streams, request % b"bad")).startswith(b"HTTP/1.1 401")
        streams[1].close()

    _on_uvloop(pki, test)


def test_a_certificate_of_another_ca_ends_the_handshake(
    pki: ClusterPki, foreign: ClusterPki, caplog: pytest.LogCaptureFixture
):
    async def test(door: _Door) -> None:
        streams = await door.connect(foreign.directory / "users" / "admin")
        # With TLS 1.3 the client learns of it at its first read.
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await _answer(streams, b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")

    with caplog.at_level(logging.INFO):
        _on_uvloop(pki, test)
    assert "Traceback" not in caplog.text


def test_old_tls_is_refused(pki: ClusterPki):
    async def test(door: _Door) -> None:
        with (
            pytest.warns(DeprecationWarning, match="TLSv1_1"),
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            await door.connect(maximum=ssl.TLSVersion.TLSv1_1)
        # The door serves on.
        streams = await door.connect()
        answer = await _answer(streams, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.endswith(b"ok")
        streams[1].close()

    _on_uvloop(pki, test)


@asynccontextmanager
async def _echoing_kubelet(pki: ClusterPki) -> AsyncIterator[int]:
    """Accepts the API server's certificate only, upgrades, and echoes in upper case. A request
    without an upgrade is answered with its own head."""
    serving = pki.directory / "nodes" / "n" / "serving"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{serving}.crt", f"{serving}.key")
    tls.load_verify_locations(pki.ca.certificate)
    tls.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade" not in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)
            writer.close()
            return
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _put_node(door: _Door, kubelet_port: int) -> None:
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
    }
    node = json_codec.from_json(Node, {"metadata": {"name": "n"}, "status": status})
    door.verbs.put(scheme.NODES, node.message)


def test_a_kubelets_answer_is_asked_for_as_it_is_shown(pki: ClusterPki):
    """Uncompressed: its Content-Encoding is not passed on."""

    async def test(door: _Door) -> None:
        async with _echoing_kubelet(pki) as port:
            _put_node(door, port)
            streams = await door.connect(pki.directory / "users" / "admin")
            request = (
                b"GET /api/v1/nodes/n/proxy/metrics HTTP/1.1\r\nHost: x\r\n"
                b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n"
            )
            await _answer(streams, request)  # the head; the body comes in chunks
            body = await streams[0].readuntil(b"\r\n0\r\n\r\n")
            assert b"GET /metrics HTTP/1.1" in body
            assert b"gzip" not in body
            streams[1].close()

    _on_uvloop(pki, test)


@pytest.mark.parametrize("upgrade", [b"websocket", b"SPDY/3.1"])
def test_streams_pass_through_both_tls_connections(pki: ClusterPki, upgrade: bytes):
    async def test(door: _Door) -> None:
        async with _echoing_kubelet(pki) as port:
            _put_node(door, port)
            tree = {
                "metadata": {"name": "p", "namespace": "d"},
                "spec": {"containers": [{"name": "c"}], "nodeName": "n"},
            }
            door.verbs.put(scheme.PODS, json_codec.from_json(Pod, tree).message)
            streams = await door.connect(pki.directory / "users" / "admin")
            request = (
                b"POST /api/v1/namespaces/d/pods/p/exec?command=sh HTTP/1.1\r\nHost: x\r\n"
                b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\nContent-Length: 0\r\n\r\n"
            )
            assert (await _answer(streams, request)).startswith(b"HTTP/1.1 101 ")
            reader, writer = streams
            payload = bytes(range(97, 123)) * 100_000
            writer.write(payload)
            assert await reader.readexactly(len(payload)) == payload.upper()
            writer.close()

    _on_uvloop(pki, test)
