"""Amounts of cpu, memory and the rest, and what a Pod requests of them.

Source: pkg/scheduler/framework/types.go (Resource), pkg/scheduler/util/pod_resources.go,
k8s.io/component-helpers resource/helpers.go (PodRequests).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from podpath.api import quantity
from protos.k8s.core_v1_pb2 import Container, Pod

DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024
"""What scoring takes for a container that requests nothing."""

# Few texts are used by very many objects.
_milli = lru_cache(maxsize=4096)(quantity.milli_value)
_whole = lru_cache(maxsize=4096)(quantity.value)


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
                cpu = _milli(text)
            elif name == "memory":
                memory = _whole(text)
            elif name == "ephemeral-storage":
                storage = _whole(text)
            elif name != "pods":
                scalars[name] = _whole(text)
        return cls(cpu, memory, storage, scalars)

    def get(self, name: str) -> int:
        """The amount of a resource by Kubernetes' name; 0 when there is none."""
        if name == "cpu":
            return self.milli_cpu
        if name == "memory":
            return self.memory
        if name == "ephemeral-storage":
            return self.ephemeral_storage
        return self.scalars.get(name, 0)

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


class ResourceSum:
    """A running sum: changed in place, because every placement changes it."""

    __slots__ = ("ephemeral_storage", "memory", "milli_cpu", "scalars")

    def __init__(self) -> None:
        self.milli_cpu = 0
        self.memory = 0
        self.ephemeral_storage = 0
        self.scalars: dict[str, int] = {}

    def add(self, amount: Resources, sign: int = 1) -> None:
        """`sign` -1 takes away."""
        self.milli_cpu += sign * amount.milli_cpu
        self.memory += sign * amount.memory
        self.ephemeral_storage += sign * amount.ephemeral_storage
        for name, value in amount.scalars.items():
            self.scalars[name] = self.scalars.get(name, 0) + sign * value

    def get(self, name: str) -> int:
        if name == "cpu":
            return self.milli_cpu
        if name == "memory":
            return self.memory
        if name == "ephemeral-storage":
            return self.ephemeral_storage
        return self.scalars.get(name, 0)

    def copy(self) -> "ResourceSum":
        twin = ResourceSum()
        twin.milli_cpu, twin.memory = self.milli_cpu, self.memory
        twin.ephemeral_storage = self.ephemeral_storage
        twin.scalars = dict(self.scalars)
        return twin


def pod_requests(pod: Pod) -> tuple[Resources, Resources]:
    """What the Pod requests, and the same with scoring's defaults for containers without."""
    return _total(pod, nonzero=False), _total(pod, nonzero=True)


def _nonzero(request: Resources, asked: Mapping[str, object]) -> Resources:
    cpu = request.milli_cpu if "cpu" in asked else DEFAULT_MILLI_CPU
    memory = request.memory if "memory" in asked else DEFAULT_MEMORY
    return Resources(cpu, memory, request.ephemeral_storage, request.scalars)


def _total(pod: Pod, *, nonzero: bool) -> Resources:
    """Containers and sidecars together, or the largest init stage, whichever is more; overhead."""

    def of(container: Container) -> Resources:
        asked = container.resources.requests
        request = Resources.parse(asked)
        return _nonzero(request, asked) if nonzero else request

    total: Resources | None = None
    for container in pod.spec.containers:
        total = of(container) if total is None else total.plus(of(container))
    total = total or NOTHING
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
    if pod.spec.initContainers:
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
