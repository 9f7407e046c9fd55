"""Ports of the node that a Pod takes.

Source: pkg/scheduler/framework/types.go (HostPortInfo), pkg/scheduler/util/utils.go (GetHostPorts).
"""

from collections.abc import Iterable, Iterator

from protos.k8s.core_v1_pb2 import Container, Pod

ANY_IP = "0.0.0.0"

HostPort = tuple[str, str, int]
"""IP, protocol, port."""


def host_ports(pod: Pod) -> Iterator[HostPort]:
    """Of its containers, and of init containers that go on beside them."""
    for container in pod.spec.containers:
        yield from _of(container)
    for container in pod.spec.initContainers:
        if container.restartPolicy == "Always":
            yield from _of(container)


def conflict(wanted: Iterable[HostPort], taken: Iterable[HostPort]) -> bool:
    """Whether any is taken; the unspecified address means all of them."""
    used = list(taken)
    return any(
        protocol == used_protocol
        and port == used_port
        and (ip == used_ip or ANY_IP in (ip, used_ip))
        for ip, protocol, port in wanted
        for used_ip, used_protocol, used_port in used
    )


def _of(container: Container) -> Iterator[HostPort]:
    for port in container.ports:
        if port.hostPort > 0:
            yield (port.hostIP or ANY_IP, port.protocol or "TCP", port.hostPort)
