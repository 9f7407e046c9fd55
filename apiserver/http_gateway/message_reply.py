"""A stream of bytes as WebSocket messages, for clients that upgrade a request for a log.

Source: k8s.io/apimachinery pkg/util/httpstream/wsstream/stream.go (NewDefaultReaderProtocols).
"""

import base64

from aiohttp import web

BINARY = "binary.k8s.io"
BASE64 = "base64.binary.k8s.io"


def is_asked_for(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


class MessageReply:
    """Like ChunkedReply: `prepare` answers the handshake, `write` sends a message at once.

    A client that names no subprotocol gets binary messages.
    """

    def __init__(self) -> None:
        self.response = web.WebSocketResponse(protocols=(BINARY, BASE64))

    async def prepare(self, request: web.BaseRequest) -> None:
        await self.response.prepare(request)

    async def write(self, data: bytes) -> None:
        """Raises: ConnectionError."""
        if self.response.ws_protocol == BASE64:
            await self.response.send_str(base64.b64encode(data).decode())
        else:
            await self.response.send_bytes(data)

    async def finish(self) -> None:
        await self.response.close()
