"""Free ports and address ranges for a new cluster."""

import ipaddress
import socket
import subprocess
from collections.abc import Iterable

import orjson

from podpath.cli.layout import ClusterError


def free_ports(count: int, avoid: Iterable[int] = ()) -> list[int]:
    """Ports of loopback that nobody listens on now, none of them in `avoid`."""
    taken = set(avoid)
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            holder = socket.socket()
            held.append(holder)
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
            if port not in taken:
                ports.append(port)
    finally:
        for holder in held:
            holder.close()
    return ports


def free_pod_cidr(avoid: Iterable[str] = ()) -> str:
    """A /16 of 10.128.0.0-10.254.0.0 that no route and no other cluster uses."""
    used = [ipaddress.ip_network(cidr) for cidr in (*avoid, *routes())]
    for second in range(128, 255):
        candidate = ipaddress.ip_network(f"10.{second}.0.0/16")
        if not any(candidate.overlaps(network) for network in used):
            return str(candidate)
    raise ClusterError("no free /16 between 10.128.0.0 and 10.254.0.0: remove a cluster first")


def routes() -> list[str]:
    try:
        listed = subprocess.run(
            ("ip", "-4", "-json", "route"), capture_output=True, check=True, timeout=10
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = (route.get("dst", "default") for route in orjson.loads(listed or b"[]"))
    return [dst for dst in found if dst != "default"]
