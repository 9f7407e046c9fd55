"""One client connection: what aiohttp's protocol does, and what the door needs besides.

It knows the client's certificate, tells a long-running handler when the client has gone, and
answers unreadable requests without naming the server's software.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from apiserver.http_gateway.reply import Reply

IDLE_CONNECTION_S = 180.0
"""An idle connection is closed after this long; client-go drops its own after 90 s."""

_HEADER_BYTES_MAX = 64 * 1024
"""Of one request line or header: selectors and service account tokens are long."""


class Connection(RequestHandler):
    """A server-side connection. Use `of` to get the one a request came over."""

    __slots__ = ("_certificate", "_certificate_known", "on_lost")

    def __init__(self, manager: "Server", *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=IDLE_CONNECTION_S,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
            lingering_time=0.0,
            auto_decompress=True,
        )
        self._certificate: bytes | None = None
        self._certificate_known = False
        self.on_lost: Callable[[], Any] | None = None

    @property
    def certificate(self) -> bytes | None:
        """The client's certificate (DER) that the handshake verified, if it sent one."""
        if not self._certificate_known and self.transport is not None:
            secured: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
            self._certificate = secured.getpeercert(binary_form=True) if secured else None
            self._certificate_known = True
        return self._certificate

    def connection_lost(self, exc: BaseException | None) -> None:
        on_lost, self.on_lost = self.on_lost, None
        super().connection_lost(exc)
        if on_lost is not None:
            on_lost()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What a client gets whose request is not HTTP."""
        text = "400 Bad Request" if status == 400 else f"{status} error"
        return Reply(status, text.encode(), "text/plain; charset=utf-8", close=True)


class Server(web.Server):
    """Makes Connections."""

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop)


def of(request: web.BaseRequest) -> Connection:
    protocol = request.protocol
    assert isinstance(protocol, Connection)
    return protocol
