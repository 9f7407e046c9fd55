"""Pods and nodes as the scheduler counts them.

Source: pkg/scheduler/framework/types.go (NodeInfo, PodInfo, Resource), pkg/scheduler/util/
pod_resources.go, k8s.io/component-helpers resource/helpers.go (PodRequests).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from podpath.api import quantity
from protos.k8s.core_v1_pb2 import Container, Node, Pod

DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024
"""What scoring takes for a container that requests nothing."""


@dataclass(frozen=True, slots=True)
class Resources:
    """cpu in millicores, memory and ephemeral storage in bytes, the rest as counted by name."""

    milli_cpu: int = 0
    memory: int = 0
    ephemeral_storage: int = 0
    scalars: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, quantities: Mapping[str, object]) -> "Resources":
        """From a ResourceList (name -> Quantity message)."""
        scalars: dict[str, int] = {}
        cpu = memory = storage = 0
        for name, amount in quantities.items():
            text = amount.string  # type: ignore[attr-defined]
            if name == "cpu":
                cpu = quantity.milli_value(text)
            elif name == "memory":
                memory = quantity.value(text)
            elif name == "ephemeral-storage":
                storage = quantity.value(text)
            elif name != "pods":
                scalars[name] = quantity.value(text)
        return cls(cpu, memory, storage, scalars)

    def plus(self, other: "Resources") -> "Resources":
        return Resources(
            self.milli_cpu + other.milli_cpu,
            self.memory + other.memory,
            self.ephemeral_storage + other.ephemeral_storage,
            _combine(self.scalars, other.scalars, int.__add__),
        )

    def highest(self, other: "Resources") -> "Resources":
        return Resources(
            max(self.milli_cpu, other.milli_cpu),
            max(self.memory, other.memory),
            max(self.ephemeral_storage, other.ephemeral_storage),
            _combine(self.scalars, other.scalars, max),
        )


def _combine(
    left: Mapping[str, int], right: Mapping[str, int], choose: Callable[[int, int], int]
) -> Mapping[str, int]:
    if not right:
        return left
    return {name: choose(left.get(name, 0), right.get(name, 0)) for name in {**left, **right}}


NOTHING = Resources()


def _nonzero(request: Resources, asked: Mapping[str, object]) -> Resources:
    cpu = request.milli_cpu if "cpu" in asked else DEFAULT_MILLI_CPU
    memory = request.memory if "memory" in asked else DEFAULT_MEMORY
    return Resources(cpu, memory)


def _total(pod: Pod, *, nonzero: bool) -> Resources:
    """Containers and sidecars together, or the largest init stage, whichever is more; overhead."""

    def of(container: Container) -> Resources:
        asked = container.resources.requests
        request = Resources.parse(asked)
        return _nonzero(request, asked) if nonzero else request

    total = NOTHING
    for container in pod.spec.containers:
        total = total.plus(of(container))
    sidecars = init_peak = NOTHING
    for container in pod.spec.initContainers:
        request = of(container)
        if container.restartPolicy == "Always":
            total = total.plus(request)
            sidecars = sidecars.plus(request)
            request = sidecars
        else:
            request = request.plus(sidecars)
        init_peak = init_peak.highest(request)
    total = total.highest(init_peak)
    if pod.spec.HasField("resources") and pod.spec.resources.requests:
        total = _override(total, pod.spec.resources.requests)
    if pod.spec.overhead:
        total = total.plus(Resources.parse(pod.spec.overhead))
    return total


def _override(total: Resources, asked: Mapping[str, object]) -> Resources:
    """Requests of the whole Pod win over the sum of its containers."""
    request = Resources.parse(asked)
    return Resources(
        request.milli_cpu if "cpu" in asked else total.milli_cpu,
        request.memory if "memory" in asked else total.memory,
        total.ephemeral_storage,
        {**total.scalars, **request.scalars},
    )


class PodInfo:
    """A Pod and what is computed of it once. The message is shared: read-only."""

    __slots__ = ("host_ports", "key", "nonzero_request", "pod", "priority", "request", "uid")

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.uid = pod.metadata.uid
        self.key = (pod.metadata.namespace, pod.metadata.name)
        self.priority = pod.spec.priority
        self.request = _total(pod, nonzero=False)
        self.nonzero_request = _total(pod, nonzero=True)
        self.host_ports = tuple(_host_ports(pod))


def _host_ports(pod: Pod) -> Iterable[tuple[str, str, int]]:
    sidecars = (c for c in pod.spec.initContainers if c.restartPolicy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.hostPort > 0:
                yield (port.hostIP or "0.0.0.0", port.protocol or "TCP", port.hostPort)


class NodeInfo:
    """A node and the sum of what its Pods, bound or assumed, request."""

    __slots__ = (
        "allocatable",
        "allowed_pods",
        "generation",
        "name",
        "node",
        "nonzero_requested",
        "pods",
        "requested",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Node | None = None
        self.pods: dict[str, PodInfo] = {}
        self.allocatable = NOTHING
        self.allowed_pods = 0
        self.requested = NOTHING
        self.nonzero_requested = NOTHING
        self.generation = 0

    def set_node(self, node: Node | None) -> None:
        """None: the node is gone, but Pods bound to it are still known."""
        self.node = node
        if node is not None:
            self.allocatable = Resources.parse(node.status.allocatable)
            pods = (
                node.status.allocatable.get("pods") if "pods" in node.status.allocatable else None
            )
            self.allowed_pods = quantity.value(pods.string) if pods is not None else 0
        self.generation += 1

    def add(self, pod: PodInfo) -> None:
        self.pods[pod.uid] = pod
        self.requested = self.requested.plus(pod.request)
        self.nonzero_requested = self.nonzero_requested.plus(pod.nonzero_request)
        self.generation += 1

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid)
        self.requested = self.requested.plus(_negative(pod.request))
        self.nonzero_requested = self.nonzero_requested.plus(_negative(pod.nonzero_request))
        self.generation += 1


def _negative(amount: Resources) -> Resources:
    return Resources(
        -amount.milli_cpu,
        -amount.memory,
        -amount.ephemeral_storage,
        {name: -value for name, value in amount.scalars.items()},
    )
