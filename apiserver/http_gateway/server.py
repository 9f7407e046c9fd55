"""The HTTPS listener: TLS with optional client certificates, HTTP/1.1.

Source: k8s.io/apiserver pkg/server/secure_serving.go.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from apiserver.http_gateway import connection
from apiserver.http_gateway.gateway import Gateway

SHUTDOWN_GRACE_S = 1.0
"""How long requests that are under way may take to end at shutdown; watches are cut then."""

_BACKLOG = 1024


def tls_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer. A client may show a certificate; one that `client_ca` did not sign ends
    the handshake. Raises: OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


@asynccontextmanager
async def listening(
    gateway: Gateway, host: str, port: int, tls: ssl.SSLContext | None
) -> AsyncIterator[int]:
    """Serves while the block runs; yields the port (useful with 0). Without `tls`: tests only."""
    runner = web.ServerRunner(connection.Server(gateway.handle), shutdown_timeout=SHUTDOWN_GRACE_S)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner, host, port, ssl_context=tls, backlog=_BACKLOG, reuse_address=True
        )
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
