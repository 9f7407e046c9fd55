"""Adds a RuntimeClass' overhead and scheduling constraints to its Pods.

Source: k8s.io/kubernetes plugin/pkg/admission/runtimeclass/admission.go,
pkg/util/tolerations/tolerations.go.
"""

from collections.abc import Mapping

from apiserver.admission.interface import Attributes
from apiserver.admission.pods import is_pod, pod_of
from apiserver.admission.rejection import forbidden
from apiserver.lister import Lister
from podpath.api import quantity, scheme
from protos.k8s.core_v1_pb2 import Pod, Toleration
from protos.k8s.node_v1_pb2 import RuntimeClass
from protos.k8s.resource_pb2 import Quantity

_MISMATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
_UNFOUNDED = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"


class RuntimeClassAdmission:
    """Mutating and validating."""

    name = "RuntimeClass"

    def __init__(self, lister: Lister) -> None:
        self._lister = lister

    def handles(self, attributes: Attributes) -> bool:
        return is_pod(attributes)

    async def admit(self, attributes: Attributes) -> None:
        pod = pod_of(attributes)
        runtime_class = await self._find(attributes, pod)
        if runtime_class is None:
            return
        if runtime_class.HasField("overhead"):
            fixed = runtime_class.overhead.podFixed
            if pod.spec.overhead and not _same(fixed, pod.spec.overhead):
                raise forbidden(attributes, _MISMATCH)
            pod.spec.ClearField("overhead")
            for name, amount in fixed.items():
                pod.spec.overhead[name].CopyFrom(amount)
        if runtime_class.HasField("scheduling"):
            _constrain(attributes, pod, runtime_class)

    async def validate(self, attributes: Attributes) -> None:
        pod = pod_of(attributes)
        runtime_class = await self._find(attributes, pod)
        if runtime_class is None or not runtime_class.HasField("overhead"):
            if pod.spec.overhead:
                raise forbidden(attributes, _UNFOUNDED)
        elif not _same(runtime_class.overhead.podFixed, pod.spec.overhead):
            raise forbidden(attributes, _MISMATCH)

    async def _find(self, attributes: Attributes, pod: Pod) -> RuntimeClass | None:
        name = pod.spec.runtimeClassName
        if not name:
            return None
        found = self._lister.get(scheme.RUNTIMECLASSES, "", name)
        if found is None:
            found = await self._lister.get_live(scheme.RUNTIMECLASSES, "", name)
        if found is None:
            raise forbidden(attributes, f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _same(left: Mapping[str, Quantity], right: Mapping[str, Quantity]) -> bool:
    """True if the amounts are equal, however they are written."""
    return left.keys() == right.keys() and all(
        not quantity.compare(quantity.parse(left[k].string), quantity.parse(right[k].string))
        for k in left
    )


def _constrain(attributes: Attributes, pod: Pod, runtime_class: RuntimeClass) -> None:
    scheduling = runtime_class.scheduling
    for key, value in scheduling.nodeSelector.items():
        own = pod.spec.nodeSelector.get(key, value)
        if own != value:
            raise forbidden(
                attributes,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own}",
            )
    pod.spec.nodeSelector.update(scheduling.nodeSelector)
    merged = [*pod.spec.tolerations]
    for toleration in scheduling.tolerations:
        if not any(_covers(held, toleration) for held in merged):
            merged = [held for held in merged if not _covers(toleration, held)]
            merged.append(toleration)
    del pod.spec.tolerations[:]
    pod.spec.tolerations.extend(merged)


def _covers(wide: Toleration, narrow: Toleration) -> bool:
    """True if `wide` tolerates all that `narrow` does."""
    if wide.key not in {narrow.key, ""} or wide.effect not in {narrow.effect, ""}:
        return False
    if wide.HasField("tolerationSeconds"):
        if not narrow.HasField("tolerationSeconds"):
            return False
        if wide.tolerationSeconds < narrow.tolerationSeconds:
            return False
    if wide.operator == "Exists":
        return True
    return narrow.operator != "Exists" and wide.value == narrow.value
