"""A real etcd for tests: own data directory, free ports, gone when the test is over."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from apiserver.storage.etcd_client import EtcdClient, EtcdConfig, TlsFiles
from podpath.component_base import binaries

START_TIMEOUT_S = 20.0


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Etcd:
    """One member. `kill` and `start` again keep the data and the ports."""

    def __init__(self, *flags: str, tls: TlsFiles | None = None) -> None:
        """With `tls` (the client's side) the flags must say what the server shows and asks for."""
        self._flags = flags
        self._tls = tls
        self._directory = Path(tempfile.mkdtemp(prefix="podpath-etcd-"))
        self._client_port, self._peer_port = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._client_port}"

    @property
    def config(self) -> EtcdConfig:
        return EtcdConfig((self.endpoint,), self._tls)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Returns when etcd answers."""
        self._launch()
        config = EtcdConfig((self.endpoint,), self._tls, request_timeout_s=START_TIMEOUT_S)
        async with EtcdClient(config) as probe:
            await probe.status()

    def _launch(self) -> None:
        scheme = "https" if self._tls else "http"
        client, peer = f"{scheme}://{self.endpoint}", f"http://127.0.0.1:{self._peer_port}"
        command = [
            binaries.find("etcd"),
            f"--data-dir={self._directory / 'data'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
            *self._flags,
        ]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9: nothing is flushed that was not before."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    async def restart(self, down_s: float = 0.0) -> None:
        self.kill()
        await asyncio.sleep(down_s)
        await self.start()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


@asynccontextmanager
async def running_etcd(*flags: str, tls: TlsFiles | None = None) -> AsyncIterator[Etcd]:
    """`async with running_etcd() as etcd:`; for fixtures and tests alike."""
    async with Etcd(*flags, tls=tls) as etcd:
        yield etcd
