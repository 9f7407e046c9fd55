"""The kubelet's HTTPS server: who gets in, logs, and bytes passed through to the runtime."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest

from kubelet.server import Server, serve, tls_context
from kubelet.server_auth import Authorizer
from podpath.client.memory import MemoryClient
from podpath.component_base import pki
from podpath.component_base.clock import SystemClock
from podpath.component_base.streaming.upgrade import serve_upgrades
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backends.fake import FakeBackend
from tests.support.kubelets import eventually, new_pod, running_kubelet, running_shim

pytestmark = pytest.mark.integration


class Reviews:
    """Answers SubjectAccessReviews: only the API server's client is allowed."""

    def __init__(self):
        self.asked = []

    async def create(self, resource, review):
        spec = review.spec
        self.asked.append((spec.user, spec.resourceAttributes.verb))
        review.status.allowed = spec.user == pki.KUBELET_CLIENT_USER
        return review


@pytest.fixture
def files(tmp_path):
    names = pki.ClusterNames(nodes=(pki.NodeNames("node-1"),))
    return pki.ensure_cluster_pki(tmp_path / "pki", names, SystemClock())


def client_tls(files, pair):
    context = ssl.create_default_context(cafile=str(files.ca.certificate))
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


@asynccontextmanager
async def serving(files, tmp_path, pod):
    clock = SystemClock()
    backend = FakeBackend(clock, write_logs=True)
    async with (
        running_shim(backend) as shim,
        running_kubelet(shim, MemoryClient(clock), root=str(tmp_path / "root")) as node,
    ):
        await node.create(pod)

        async def runs():
            return (await node.pod("web")).status.phase == "Running"

        await eventually(runs)
        reviews = Reviews()
        own = files.node_serving("node-1")
        tls = tls_context(str(own.certificate), str(own.key), str(files.ca.certificate))
        application = Server(node.kubelet, Authorizer(reviews, clock, "node-1"), clock)
        async with serve(application.application(), "127.0.0.1", 0, tls) as port:
            node.reviews, node.url = reviews, f"https://127.0.0.1:{port}"
            yield node


async def test_only_the_api_server_gets_in(files, tmp_path):
    async with serving(files, tmp_path, new_pod()) as node, aiohttp.ClientSession() as session:
        own = client_tls(files, files.apiserver_kubelet_client)
        for _ in range(2):
            async with session.get(f"{node.url}/healthz", ssl=own) as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
        # The second answer came from the cache.
        assert node.reviews.asked == [(pki.KUBELET_CLIENT_USER, "get")]
        other = client_tls(files, files.user("scheduler"))
        async with session.get(f"{node.url}/pods", ssl=other) as answer:
            assert answer.status == 403
            assert "Forbidden (user=" in await answer.text()
        with pytest.raises((aiohttp.ClientError, OSError)):
            await session.get(f"{node.url}/healthz", ssl=client_tls(files, None))


async def test_logs(files, tmp_path):
    pod = new_pod(log="one\ntwo\nthree")
    async with serving(files, tmp_path, pod) as node, aiohttp.ClientSession() as session:
        tls = client_tls(files, files.apiserver_kubelet_client)
        base = f"{node.url}/containerLogs/default/web"
        for path, status, text in (
            ("/c0", 200, "one\ntwo\nthree\n"),
            ("/c0?tailLines=1", 200, "three\n"),
            ("/c0?tailLines=x", 400, "tailLines: must be a number that is not negative, not 'x'"),
            (
                "/c0?previous=true",
                400,
                'previous terminated container "c0" in pod "web" not found',
            ),
            ("/none", 404, 'container "none" not found in pod "web"'),
        ):
            async with session.get(base + path, ssl=tls) as answer:
                assert (answer.status, await answer.text()) == (status, text)
        async with session.get(f"{node.url}/containerLogs/default/no/c0", ssl=tls) as answer:
            assert answer.status == 404
        async with session.get(f"{node.url}/pods", ssl=tls) as answer:
            listed = await answer.json()
            assert (listed["kind"], listed["items"][0]["metadata"]["name"]) == ("PodList", "web")
        async with session.get(f"{node.url}/stats/summary", ssl=tls) as answer:
            assert (await answer.json())["pods"][0]["podRef"]["name"] == "web"


async def test_exec_passes_bytes_through(files, tmp_path):
    asked = []

    async def echo(request, connection):
        asked.append((request.path, request.headers.get("sec-websocket-protocol", "")))
        await connection.switch({"Upgrade": "websocket"})
        while data := await connection.reader.read(1000):
            connection.writer.write(data.upper())
            await connection.writer.drain()

    async with (
        serving(files, tmp_path, new_pod()) as node,
        serve_upgrades(echo, "127.0.0.1", 0) as port,
    ):
        requests = []

        async def exec_url(request):
            requests.append(request)
            return cri.ExecResponse(url=f"http://127.0.0.1:{port}/exec/TOKEN")

        node.runtime.Exec = exec_url
        tls = client_tls(files, files.apiserver_kubelet_client)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(node.url.rsplit(":", 1)[1]), ssl=tls
        )
        writer.write(
            b"GET /exec/default/web/c0?command=echo&command=a%20b&output=1&error=1 HTTP/1.1\r\n"
            b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 101 ")
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 30) == b"HELLO"
        writer.close()
        assert asked == [("/exec/TOKEN", "v5.channel.k8s.io")]
        assert list(requests[0].cmd) == ["echo", "a b"]
        assert (requests[0].stdout, requests[0].stderr, requests[0].stdin) == (True, True, False)
