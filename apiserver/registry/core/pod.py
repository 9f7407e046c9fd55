"""What is particular to Pods: they start Pending, and end gracefully.

Source: pkg/registry/core/pod/strategy.go, pkg/apis/core/v1/helper/qos/qos.go.
"""

from collections.abc import Iterable
from typing import Any

from apiserver.registry.strategy import GenericStrategy, differs_beyond_metadata, keep
from podpath.api import quantity
from protos.k8s.core_v1_pb2 import Container, Pod, PodCondition
from protos.k8s.meta_v1_pb2 import DeleteOptions

_QOS_RESOURCES = ("cpu", "memory")


class PodStrategy(GenericStrategy):
    """Creation, update and deletion of Pods."""

    def prepare_for_create(self, obj: Any) -> None:
        obj.ClearField("status")
        obj.status.phase = "Pending"
        obj.status.qosClass = qos_class(obj)
        obj.metadata.generation = 1
        if obj.spec.schedulingGates:
            gated = PodCondition(type="PodScheduled", status="False", reason="SchedulingGated")
            gated.message = "Scheduling is blocked due to non-empty scheduling gates"
            obj.status.conditions.append(gated)

    def prepare_for_update(self, new: Any, old: Any) -> None:
        keep(new, old, "status")
        if differs_beyond_metadata(new, old):
            new.metadata.generation = old.metadata.generation + 1

    def grace_period_s(self, obj: Any, options: DeleteOptions) -> int | None:
        """A Pod that no kubelet holds, or that has ended, has nothing to wait for."""
        if not obj.spec.nodeName or obj.status.phase in ("Succeeded", "Failed"):
            return 0
        if options.HasField("gracePeriodSeconds"):
            period = options.gracePeriodSeconds
        elif obj.spec.HasField("terminationGracePeriodSeconds"):
            period = obj.spec.terminationGracePeriodSeconds
        else:
            period = 0
        return period if period >= 0 else 1


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory of all containers."""
    containers = [*pod.spec.containers, *pod.spec.initContainers]
    requests = _total(c.resources.requests for c in containers)
    limits = _total(c.resources.limits for c in containers)
    if not requests and not limits:
        return "BestEffort"
    if all(map(_limits_all, containers)) and requests == limits:
        return "Guaranteed"
    return "Burstable"


def _total(lists: Iterable[Any]) -> dict[str, int]:
    """Sums, in thousandths, of what is not zero."""
    total: dict[str, int] = {}
    for amounts in lists:
        for name in _QOS_RESOURCES:
            if name in amounts and (amount := quantity.milli_value(amounts[name].string)):
                total[name] = total.get(name, 0) + amount
    return total


def _limits_all(container: Container) -> bool:
    limits = container.resources.limits
    return all(
        name in limits and quantity.milli_value(limits[name].string) for name in _QOS_RESOURCES
    )
