"""Names, addresses and command lines of a cluster on containers. Pure.

network     podpath-NAME            a /24; .2 is the control plane, .10 + n is node-n
containers  podpath-NAME-control-plane, podpath-NAME-node-1, ...
volumes     the containers' names

What is asked later, also of a container that is stopped, are labels: engines tell addresses and
ports in ways of their own.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from podpath.api import quantity
from podpath.cli import container_services
from podpath.cli.cluster_engine import CLUSTER_LABEL, NODE_LABEL, ROLE_LABEL
from podpath.cli.layout import ClusterError

CONTROL_PLANE = "control-plane"
NODE = "node"
RUNTIME_LABEL = "io.podpath.runtime"
ADDRESS_LABEL = "io.podpath.address"
HTTPS_LABEL = "io.podpath.port.https"
GRPC_LABEL = "io.podpath.port.grpc"
_PREFIX = 24
_FIRST_NODE = 10
NODES_MAX = 200


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What `create` was asked for. `cpus` and `memory` limit each node; empty: no limit."""

    name: str
    nodes: int = 1
    runtime: str = "nerdctl"
    cpus: str = ""
    memory: str = ""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """One container's name and address."""

    container: str
    address: str
    hostname: str


def resource_name(cluster: str) -> str:
    return f"podpath-{cluster}"


def control_plane_of(cluster: str) -> str:
    return f"podpath-{cluster}-{CONTROL_PLANE}"


def node_container(cluster: str, node: str) -> str:
    return f"podpath-{cluster}-{node}"


def labels(cluster: str, role: str = "") -> list[str]:
    found = [f"{CLUSTER_LABEL}={cluster}"]
    return [*found, f"{ROLE_LABEL}={role}"] if role else found


def label_flags(cluster: str) -> list[str]:
    return [f"--label={label}" for label in labels(cluster)]


def free_subnet(used: Iterable[str]) -> str:
    """A /24 of 172.29.0.0/16 - 172.31.0.0/16 that no network uses. Raises: ClusterError."""
    taken = [ipaddress.ip_network(subnet, strict=False) for subnet in used]
    for second in (29, 30, 31):
        for candidate in ipaddress.ip_network(f"172.{second}.0.0/16").subnets(new_prefix=_PREFIX):
            if not any(candidate.overlaps(network) for network in taken):
                return str(candidate)
    raise ClusterError("no free /24 between 172.29.0.0 and 172.31.0.0: delete a cluster first")


def subnet_of(address: str) -> str:
    """The network of the container with that address."""
    return str(ipaddress.ip_interface(f"{address}/{_PREFIX}").network)


def control_plane_place(cluster: str, subnet: str) -> Place:
    address = ipaddress.ip_network(subnet)[2]
    return Place(control_plane_of(cluster), str(address), control_plane_of(cluster))


def node_place(cluster: str, subnet: str, number: int) -> Place:
    """Raises: ClusterError."""
    if number > NODES_MAX:
        raise ClusterError(f"a cluster has at most {NODES_MAX} nodes")
    address = ipaddress.ip_network(subnet)[_FIRST_NODE + number]
    name = f"node-{number}"
    return Place(node_container(cluster, name), str(address), name)


def next_number(nodes: Iterable[str]) -> int:
    """One more than the highest of `node-N`: a name is not used twice."""
    taken = [int(n.removeprefix("node-")) for n in nodes if n.removeprefix("node-").isdigit()]
    return max(taken, default=0) + 1


def _common(plan: ClusterPlan, place: Place, role: str, flags: Sequence[str]) -> list[str]:
    return [
        "run",
        "-d",
        *flags,
        f"--name={place.container}",
        f"--hostname={place.hostname}",
        f"--network={resource_name(plan.name)}",
        f"--ip={place.address}",
        *label_flags(plan.name),
        f"--label={ROLE_LABEL}={role}",
        f"--label={ADDRESS_LABEL}={place.address}",
        f"--volume={place.container}:{container_services.DATA}",
        *(f"--env=PODPATH_{key}={value}" for key, value in sorted(plan.environment.items())),
    ]


def run_control_plane(
    plan: ClusterPlan, place: Place, image: str, ports: tuple[int, int], flags: Sequence[str]
) -> list[str]:
    """`ports` are those of this machine for HTTPS and gRPC; `flags` the engine's own."""
    https, grpc = ports
    return [
        *_common(plan, place, CONTROL_PLANE, flags),
        "--tmpfs=/run",
        f"--label={RUNTIME_LABEL}={plan.runtime}",
        f"--label={HTTPS_LABEL}={https}",
        f"--label={GRPC_LABEL}={grpc}",
        f"--publish=127.0.0.1:{https}:{container_services.HTTPS_PORT}",
        f"--publish=127.0.0.1:{grpc}:{container_services.GRPC_PORT}",
        image,
    ]


def run_node(plan: ClusterPlan, place: Place, image: str, flags: Sequence[str]) -> list[str]:
    """A node with the fake runtime has the same rights: the runtime can be swapped later."""
    return [
        *_common(plan, place, NODE, flags),
        f"--label={NODE_LABEL}={place.hostname}",
        f"--label={RUNTIME_LABEL}={plan.runtime}",
        f"--env=PODPATH_RUNTIME={plan.runtime}",
        f"--env=PODPATH_NODE_NAME={place.hostname}",
        *limit_flags(plan),
        image,
    ]


def limit_flags(plan: ClusterPlan) -> list[str]:
    """Of a node's container. Raises: ClusterError for what is no amount."""
    flags = []
    if plan.cpus:
        millis = _amount("--node-cpus", plan.cpus, quantity.milli_value)
        flags.append(f"--cpus={millis / 1000:g}")
    if plan.memory:
        flags.append(f"--memory={_amount('--node-memory', plan.memory, quantity.value)}")
    return flags


def _amount(flag: str, text: str, read: Callable[[str], int]) -> int:
    try:
        amount = read(text)
    except quantity.QuantityError as error:
        raise ClusterError(f"{flag} {text!r}: {error}") from None
    if amount <= 0:
        raise ClusterError(f"{flag} {text!r}: expected more than nothing")
    return amount
