"""The subresource scale of Deployments, ReplicaSets, StatefulSets and ReplicationControllers.

Source: pkg/registry/apps/deployment/storage/storage.go (ScaleREST),
k8s.io/api autoscaling/v1 Scale.
"""

from typing import Any

from podpath.api import errors, selectors
from podpath.api.errors import FieldError
from podpath.api.scheme import REPLICATIONCONTROLLERS, Resource
from protos.k8s.autoscaling_v1_pb2 import Scale
from protos.k8s.meta_v1_pb2 import LabelSelector


def scale_of(resource: Resource[Any], obj: Any) -> Scale:
    """The Scale that shows an object's replicas."""
    scale = Scale()
    meta = obj.metadata
    scale.metadata.name = meta.name
    scale.metadata.namespace = meta.namespace
    scale.metadata.uid = meta.uid
    scale.metadata.resourceVersion = meta.resourceVersion
    scale.metadata.creationTimestamp.CopyFrom(meta.creationTimestamp)
    scale.spec.replicas = obj.spec.replicas if obj.spec.HasField("replicas") else 1
    scale.status.replicas = obj.status.replicas
    scale.status.selector = _selector(resource, obj)
    return scale


def apply(scale: Scale, obj: Any) -> None:
    """Sets an object's replicas to the Scale's; keeps all else."""
    obj.spec.replicas = scale.spec.replicas
    if scale.metadata.resourceVersion:
        obj.metadata.resourceVersion = scale.metadata.resourceVersion
    if scale.metadata.uid:
        obj.metadata.uid = scale.metadata.uid


def validate(scale: Scale) -> list[FieldError]:
    """What is wrong with a Scale."""
    if scale.spec.replicas >= 0:
        return []
    detail = "must be greater than or equal to 0"
    return [errors.invalid("spec.replicas", scale.spec.replicas, detail)]


def _selector(resource: Resource[Any], obj: Any) -> str:
    if resource is REPLICATIONCONTROLLERS:
        return str(selectors.from_labels(obj.spec.selector))
    labels = str(selectors.from_labels(obj.spec.selector.matchLabels))
    others = str(
        selectors.from_message(LabelSelector(matchExpressions=obj.spec.selector.matchExpressions))
    )
    return ",".join(part for part in (labels, others) if part)
