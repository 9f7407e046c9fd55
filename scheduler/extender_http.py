"""How a webhook is called: JSON by POST, over a connection that is kept.

Source: pkg/scheduler/extender.go (send).
"""

import http.client
import urllib.parse
from typing import Any

import orjson

from scheduler.extender_config import ExtenderConfig, TlsConfig
from scheduler.framework.runtime import PluginError

_OK = 200


class Caller:
    """One call at a time; `close` at the end."""

    def __init__(self, config: ExtenderConfig) -> None:
        self._config = config
        self._connection: http.client.HTTPConnection | None = None

    def call(self, verb: str, tree: Any) -> Any:
        """The decoded answer. Raises: PluginError."""
        url = urllib.parse.urlsplit(f"{self._config.url_prefix}/{verb}")
        body = orjson.dumps(tree)
        try:
            status, answer = self._post(url, body)
            if status != _OK:
                raise PluginError(
                    f"failed {verb} with extender at URL {url.geturl()}, code {status}"
                )
            return orjson.loads(answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise PluginError(f'Post "{url.geturl()}": {error}') from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, url: urllib.parse.SplitResult, body: bytes) -> tuple[int, bytes]:
        """Once more on a new connection when the kept one turns out to have been closed."""
        kept = self._connection is not None
        try:
            return self._post_once(url, body)
        except (ConnectionError, http.client.HTTPException):
            self.close()
            if not kept:
                raise
            return self._post_once(url, body)

    def _post_once(self, url: urllib.parse.SplitResult, body: bytes) -> tuple[int, bytes]:
        connection = self._connect(url)
        connection.request("POST", url.path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()

    def _connect(self, url: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        if self._connection is None:
            timeout = self._config.timeout_s
            if url.scheme == "https":
                self._connection = _TlsConnection(url.netloc, timeout, self._config.tls)
            else:
                self._connection = http.client.HTTPConnection(url.netloc, timeout=timeout)
        return self._connection


class _TlsConnection(http.client.HTTPConnection):
    """http.client's own cannot ask for another server name than that of the address."""

    default_port = http.client.HTTPS_PORT

    def __init__(self, netloc: str, timeout_s: float, tls: TlsConfig) -> None:
        super().__init__(netloc, timeout=timeout_s)
        self._tls = tls

    def connect(self) -> None:
        super().connect()
        name = self._tls.server_name or self.host
        self.sock = self._tls.context().wrap_socket(self.sock, server_hostname=name)


class Answer:
    """A Go struct as JSON: fields by name whatever their case, None for what is not there."""

    def __init__(self, tree: Any) -> None:
        self._fields = {key.lower(): value for key, value in (tree or {}).items()}

    def __getitem__(self, name: str) -> Any:
        return self._fields.get(name.lower())
