"""One try of an http, tcp or grpc probe.

Source: pkg/probe/{http,tcp,grpc}, pkg/kubelet/prober/prober.go.
"""

import asyncio
import math
from dataclasses import dataclass

import aiohttp
import grpc.aio

from protos.k8s import core_v1_pb2 as core
from protos.k8s.intstr_pb2 import IntOrString

OUTPUT_MAX_BYTES = 10 * 1024
VERSION = "1.33"
_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = 1
_STATUS_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether the try succeeded, and what to tell."""

    ok: bool
    output: str


def resolve_port(port: IntOrString, container: core.Container) -> int | None:
    """The number, or that of the container's port of this name; None if there is none."""
    if not port.type:
        return port.intVal
    for named in container.ports:
        if named.name == port.strVal:
            return named.containerPort
    return int(port.strVal) if port.strVal.isdigit() else None


class NetworkProbes:
    """Probes over the network. One HTTP session for the node, opened at the first use."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def http(
        self,
        get: core.HTTPGetAction,
        *,
        host: str,
        port: int,
        timeout_s: float,
        agent: str = "kube-probe",
    ) -> Outcome:
        """Succeeds on 200 to 399. Certificates are not verified, as upstream's are not."""
        scheme = (get.scheme or "HTTP").lower()
        quoted = f"[{host}]" if ":" in host else host
        url = (
            f"{scheme}://{quoted}:{port}{get.path if get.path.startswith('/') else '/' + get.path}"
        )
        headers = {"User-Agent": f"{agent}/{VERSION}", "Accept": "*/*", "Connection": "close"}
        headers |= {h.name: h.value for h in get.httpHeaders}
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=False, force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        limit = aiohttp.ClientTimeout(total=None if math.isinf(timeout_s) else timeout_s)
        try:
            async with self._session.get(
                url, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                body = await response.content.read(OUTPUT_MAX_BYTES)
                text = body.decode("utf-8", "replace")
                if 200 <= response.status < 400:
                    return Outcome(True, text)
                return Outcome(False, f"HTTP probe failed with statuscode: {response.status}")
        except TimeoutError:
            return Outcome(
                False,
                f'Get "{url}": context deadline exceeded '
                "(Client.Timeout exceeded while awaiting headers)",
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(False, f'Get "{url}": {_reason(error, host, port)}')

    async def tcp(self, host: str, port: int, timeout_s: float) -> Outcome:
        """Succeeds when a connection opens."""
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
        except OSError as error:
            return Outcome(False, _reason(error, host, port))
        writer.close()
        return Outcome(True, "")

    async def grpc(self, host: str, port: int, service: str, timeout_s: float) -> Outcome:
        """Succeeds when grpc.health.v1 answers SERVING."""
        name = service.encode()
        request = b"\x0a" + bytes([len(name)]) + name if name else b""
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            check = channel.unary_unary(
                _HEALTH_CHECK, request_serializer=bytes, response_deserializer=bytes
            )
            try:
                answer = await check(request, timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                return Outcome(False, f"error: health rpc probe failed: {error.details()}")
        status = answer[1] if len(answer) >= 2 and answer[0] == 0x08 else 0
        if status == _SERVING:
            return Outcome(True, "service healthy")
        shown = _STATUS_NAMES.get(status, str(status))
        return Outcome(False, f'service unhealthy (responded with "{shown}")')


def _reason(error: Exception, host: str, port: int) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    return f"dial tcp {host}:{port}: {cause}"
