"""The subresource pods/binding: assigns a Pod to a node, once.

Source: pkg/registry/core/pod/storage/storage.go (BindingREST).
"""

from datetime import datetime

from apiserver.registry.strategy import other_uid
from podpath.api import errors
from podpath.api.errors import FieldError
from podpath.api.scheme import PODS
from podpath.component_base.pod_trace import PodStep, stamp
from protos.k8s.core_v1_pb2 import Binding, Pod, PodCondition


def validate(binding: Binding) -> list[FieldError]:
    """What is wrong with a Binding."""
    found = []
    if binding.target.kind not in ("", "Node"):
        supported = ("Node", "<empty>")
        found.append(errors.not_supported("target.kind", binding.target.kind, supported))
    if not binding.target.name:
        found.append(errors.required("target.name"))
    return found


def assign(pod: Pod, binding: Binding, now: datetime) -> None:
    """Sets the Pod's node, and the Binding's labels and annotations on it.

    Raises: ApiError (Conflict) when the Pod has a node, is being deleted, is another one than the
    Binding means, or is gated.
    """
    name = pod.metadata.name
    meta = binding.metadata
    if meta.uid and meta.uid != pod.metadata.uid:
        raise errors.conflict("", "pods/binding", name, other_uid(PODS, pod, meta.uid))
    if meta.resourceVersion and meta.resourceVersion != pod.metadata.resourceVersion:
        raise errors.conflict("", "pods/binding", name, errors.STALE_OBJECT)
    if pod.metadata.HasField("deletionTimestamp"):
        raise errors.conflict(
            "", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host"
        )
    if pod.spec.nodeName:
        cause = f'pod {name} is already assigned to node "{pod.spec.nodeName}"'
        raise errors.conflict("", "pods/binding", name, cause)
    if pod.spec.schedulingGates:
        cause = f"pod {name} has non-empty .spec.schedulingGates"
        raise errors.conflict("", "pods/binding", name, cause)
    pod.spec.nodeName = binding.target.name
    pod.metadata.annotations.update(meta.annotations)
    pod.metadata.labels.update(meta.labels)
    _mark_scheduled(pod, now)


def _mark_scheduled(pod: Pod, now: datetime) -> None:
    scheduled = PodCondition(type="PodScheduled", status="True")
    scheduled.lastTransitionTime.seconds = int(now.timestamp())
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled":
            condition.CopyFrom(scheduled)
            return
    pod.status.conditions.append(scheduled)


def stamp_bound(pod: Pod) -> None:
    """Call when the assignment is stored: the path's step 11."""
    meta = pod.metadata
    stamp(PodStep.BOUND, meta.uid, pod.spec.nodeName, meta.annotations)
