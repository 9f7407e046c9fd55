"""Address ranges for tests that make networks on this machine."""

import ipaddress
import random

from podpath.cli import network


def free_pod_cidr() -> str:
    """A /24 that no route leads to; picked by chance, so that two runs at once do not meet."""
    used = [ipaddress.ip_network(route) for route in network.routes()]
    while True:
        picked = f"10.{random.randrange(192, 255)}.{random.randrange(256)}.0/24"
        if not any(ipaddress.ip_network(picked).overlaps(other) for other in used):
            return picked
