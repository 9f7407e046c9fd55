"""Continue tokens: where the next page of a list starts, and of which moment. Opaque to clients.

Source: k8s.io/apiserver pkg/storage/continue.go.
"""

import base64
import binascii
from dataclasses import dataclass

import orjson

from podpath.api import errors

_VERSION = "meta.k8s.io/v1"
INCONSISTENT = -1
"""In place of a version: go on from the start key with the newest state."""


@dataclass(frozen=True, slots=True)
class Position:
    """`start` is the rest of a key after the range's prefix; `version` may be INCONSISTENT."""

    start: str
    version: int


def encode(position: Position) -> str:
    tree = {"v": _VERSION, "rv": position.version, "start": position.start}
    return base64.urlsafe_b64encode(orjson.dumps(tree)).rstrip(b"=").decode()


def decode(token: str) -> Position:
    """Raises: BadRequest."""
    try:
        padded = token + "=" * (-len(token) % 4)
        tree = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        version, start = tree["rv"], tree["start"]
        good = tree["v"] == _VERSION and isinstance(version, int) and isinstance(start, str)
    except (binascii.Error, ValueError, KeyError, TypeError):
        good = False
    if not good or not start or ".." in start.split("/") or version == 0:
        raise errors.bad_request(f"continue key is not valid: {token[:64]!r}")
    return Position(start, version)
