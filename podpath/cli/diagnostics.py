"""Asks a process' diagnostics socket (podpath/component_base/serving.py)."""

import http.client
import socket
from pathlib import Path


def get(path: Path, url: str) -> tuple[int, bytes]:
    """GET over a unix socket: (HTTP status, body); status 0 when nobody answers."""
    connection = http.client.HTTPConnection("localhost", timeout=5)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        connection.sock.connect(str(path))
        connection.request("GET", url)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()
