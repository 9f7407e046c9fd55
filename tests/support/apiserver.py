"""A real API server for tests: the process, its certificates, and clients for its gRPC door."""

import asyncio
import contextlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc

from podpath.client.grpc import GrpcClient
from podpath.client.kubeconfig import KubeConfig
from podpath.component_base.clock import SystemClock
from podpath.component_base.pki import ClusterNames, ClusterPki, NodeNames, ensure_cluster_pki
from tests.support.etcd import Etcd, free_ports, running_etcd

START_TIMEOUT_S = 60.0
NODES = ("node-1", "node-2")


class ApiServer:
    """One process over a given etcd. `kill` and `start` again keep ports and certificates."""

    def __init__(self, etcd: Etcd, directory: Path, *flags: str) -> None:
        self.etcd = etcd
        self._directory = directory
        self._flags = flags
        self.https_port, self.grpc_port, self.token_port = free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None
        names = ClusterNames(nodes=tuple(NodeNames(name) for name in NODES))
        self.pki: ClusterPki = ensure_cluster_pki(directory / "pki", names, SystemClock())

    @property
    def log(self) -> str:
        path = self._directory / "log"
        return path.read_text() if path.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Returns when both doors answer."""
        self._launch()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._answers()
        except TimeoutError:
            raise AssertionError(f"the API server did not start:\n{self.log[-4000:]}") from None

    def _launch(self) -> None:
        command = [
            sys.executable,
            "-m",
            "apiserver",
            f"--etcd-servers=http://{self.etcd.endpoint}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.https_port}",
            f"--grpc-port={self.grpc_port}",
            f"--grpc-token-port={self.token_port}",
            f"--tls-cert-file={self.pki.apiserver.certificate}",
            f"--tls-private-key-file={self.pki.apiserver.key}",
            f"--client-ca-file={self.pki.ca.certificate}",
            f"--service-account-key-file={self.pki.service_account_public_key}",
            f"--service-account-signing-key-file={self.pki.service_account_key}",
            f"--diagnostics-socket={self.diagnostics}",
            *self._flags,
        ]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def diagnostics(self) -> Path:
        return self._directory / "diagnostics.sock"

    async def _answers(self) -> None:
        """A TLS handshake on the gRPC door, then on the HTTPS door, which opens after it."""
        credentials = grpc.ssl_channel_credentials(self.pki.ca.certificate.read_bytes())
        # Of the door for tokens: both open at once, and this one asks for no certificate.
        address = f"127.0.0.1:{self.token_port}"
        async with grpc.aio.secure_channel(address, credentials) as channel:
            ready = asyncio.ensure_future(channel.channel_ready())
            try:
                while not ready.done():
                    if self._process is not None and self._process.poll() is not None:
                        raise AssertionError(f"the API server ended:\n{self.log[-4000:]}")
                    await asyncio.wait([ready], timeout=0.2)
            finally:
                ready.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await ready
        tls = ssl.create_default_context(cafile=str(self.pki.ca.certificate))
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.https_port, ssl=tls)
                writer.close()
                return
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        """kill -9"""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()
            self._process = None

    def config(self, user: str = "admin", *, token: str = "") -> KubeConfig:
        """How to reach it: with a certificate of `users/` or `nodes/`, with a token,
        or (no user) as anonymous."""
        ca = self.pki.ca.certificate.read_bytes()
        server = f"https://127.0.0.1:{self.https_port}"
        if token or not user:
            return KubeConfig(server, f"127.0.0.1:{self.token_port}", ca=ca, token=token)
        address = f"127.0.0.1:{self.grpc_port}"
        pair = self.pki.node_client(user) if user in NODES else self.pki.user(user)
        cert, key = pair.certificate.read_bytes(), pair.key.read_bytes()
        return KubeConfig(server, address, ca=ca, cert=cert, key=key)

    def client(self, user: str = "admin", *, token: str = "", coalesce: bool = True) -> GrpcClient:
        """A connection of its own."""
        return GrpcClient(self.config(user, token=token), coalesce=coalesce)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="podpath-apiserver-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def running_apiserver(*flags: str) -> AsyncIterator[ApiServer]:
    """With an etcd of its own."""
    with scratch_directory() as directory:
        async with running_etcd() as etcd:
            server = ApiServer(etcd, directory, *flags)
            try:
                await server.start()
                yield server
            finally:
                server.kill()
