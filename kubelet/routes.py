"""IPv4 routes over netlink, without a subprocess. Ours carry a protocol number of their own.

Source: linux include/uapi/linux/{netlink,rtnetlink}.h; `man 7 rtnetlink`.
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PROTOCOL = 0x70  # of the range that the kernel leaves to administrators; 'p'
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_REQUEST, _ACK, _REPLACE, _CREATE, _DUMP = 0x1, 0x4, 0x100, 0x400, 0x300
_ERROR, _DONE = 2, 3
_TABLE_MAIN, _SCOPE_UNIVERSE, _UNICAST = 254, 0, 1
_DST, _GATEWAY = 1, 5
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER_BYTES = 1 << 16


class RouteError(OSError):
    """The kernel refused. The message names the route."""


@dataclass(frozen=True, slots=True)
class Route:
    """`cidr` is reached through `gateway`, an address of a neighbour."""

    cidr: str
    gateway: str


def encode(kind: int, flags: int, route: Route, sequence: int = 1) -> bytes:
    """One netlink request about one route."""
    network = ipaddress.IPv4Network(route.cidr)
    body = _ROUTE.pack(
        socket.AF_INET,
        network.prefixlen,
        0,
        0,
        _TABLE_MAIN,
        PROTOCOL,
        _SCOPE_UNIVERSE,
        _UNICAST,
        0,
    )
    body += _attribute(_DST, network.network_address.packed)
    body += _attribute(_GATEWAY, ipaddress.IPv4Address(route.gateway).packed)
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, kind, flags | _REQUEST, sequence, 0) + body


def decode(data: bytes) -> Iterator[Route]:
    """Our routes in a dump's messages."""
    for kind, body in messages(data):
        if kind != _NEWROUTE:
            continue
        family, prefix, _, _, table, protocol, *_ = _ROUTE.unpack_from(body)
        if (family, table, protocol) != (socket.AF_INET, _TABLE_MAIN, PROTOCOL):
            continue
        found = dict(_attributes(body[_ROUTE.size :]))
        if _DST in found and _GATEWAY in found:
            destination = ipaddress.IPv4Address(found[_DST])
            yield Route(f"{destination}/{prefix}", str(ipaddress.IPv4Address(found[_GATEWAY])))


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each message."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value  # 4 bytes: no padding


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


class KernelRoutes:
    """The routes of this network namespace that carry our protocol number. Needs CAP_NET_ADMIN."""

    def list(self) -> Sequence[Route]:
        """Raises: RouteError."""
        body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        length = _HEADER.size + len(body)
        request = _HEADER.pack(length, _GETROUTE, _REQUEST | _DUMP, 1, 0) + body
        found: list[Route] = []
        with self._open() as link:
            link.send(request)
            while True:
                data = link.recv(_BUFFER_BYTES)
                found += decode(data)
                kinds = [kind for kind, _ in messages(data)]
                if _DONE in kinds or _ERROR in kinds or not kinds:
                    return found

    def replace(self, route: Route) -> None:
        """Raises: RouteError."""
        self._change(_NEWROUTE, _CREATE | _REPLACE, route)

    def delete(self, route: Route) -> None:
        """It may be gone already. Raises: RouteError."""
        self._change(_DELROUTE, 0, route, ignore=errno.ESRCH)

    def _change(self, kind: int, flags: int, route: Route, ignore: int = 0) -> None:
        with self._open() as link:
            link.send(encode(kind, flags | _ACK, route))
            for answer, body in messages(link.recv(_BUFFER_BYTES)):
                code = -struct.unpack_from("=i", body)[0] if answer == _ERROR else 0
                if code and code != ignore:
                    what = f"route {route.cidr} via {route.gateway}"
                    raise RouteError(code, f"{what}: {os.strerror(code)}")

    def _open(self) -> socket.socket:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        link.settimeout(5.0)
        link.bind((0, 0))
        return link
