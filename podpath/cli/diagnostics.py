"""Asks a process' diagnostics socket (podpath/component_base/serving.py)."""

import http.client
import socket
from pathlib import Path


def get(path: Path, url: str) -> tuple[int, bytes]:
    """GET over a unix socket: (HTTP status, body); status 0 when nobody answers."""
    return _request(path, "GET", url, None)


def post(path: Path, url: str, body: bytes) -> tuple[int, bytes]:
    """POST over a unix socket, as `get`."""
    return _request(path, "POST", url, body)


def _request(path: Path, method: str, url: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("localhost", timeout=5)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        connection.sock.connect(str(path))
        connection.request(method, url, body)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()
