"""HorizontalPodAutoscalers: autoscaling/v1 as a view of autoscaling/v2, which is stored.

What v1 cannot say (other metrics, behavior, conditions) is kept by v2 and not shown by v1; a write
through v1 replaces the cpu target and drops the rest, as its object does not carry it.

Source: pkg/apis/autoscaling/v1/conversion.go.
"""

from protos.k8s import autoscaling_v1_pb2 as v1
from protos.k8s import autoscaling_v2_pb2 as v2


def to_v2(hpa: v1.HorizontalPodAutoscaler) -> v2.HorizontalPodAutoscaler:
    """The same autoscaler as autoscaling/v2."""
    result = v2.HorizontalPodAutoscaler()
    result.metadata.CopyFrom(hpa.metadata)
    target = hpa.spec.scaleTargetRef
    result.spec.scaleTargetRef.kind = target.kind
    result.spec.scaleTargetRef.name = target.name
    result.spec.scaleTargetRef.apiVersion = target.apiVersion
    if hpa.spec.HasField("minReplicas"):
        result.spec.minReplicas = hpa.spec.minReplicas
    result.spec.maxReplicas = hpa.spec.maxReplicas
    if hpa.spec.HasField("targetCPUUtilizationPercentage"):
        metric = result.spec.metrics.add(type="Resource")
        metric.resource.name = "cpu"
        metric.resource.target.type = "Utilization"
        metric.resource.target.averageUtilization = hpa.spec.targetCPUUtilizationPercentage
    if hpa.HasField("status"):
        result.status.currentReplicas = hpa.status.currentReplicas
        result.status.desiredReplicas = hpa.status.desiredReplicas
    return result


def from_v2(hpa: v2.HorizontalPodAutoscaler) -> v1.HorizontalPodAutoscaler:
    """The same autoscaler as autoscaling/v1 can show it."""
    result = v1.HorizontalPodAutoscaler()
    result.metadata.CopyFrom(hpa.metadata)
    target = hpa.spec.scaleTargetRef
    result.spec.scaleTargetRef.kind = target.kind
    result.spec.scaleTargetRef.name = target.name
    result.spec.scaleTargetRef.apiVersion = target.apiVersion
    if hpa.spec.HasField("minReplicas"):
        result.spec.minReplicas = hpa.spec.minReplicas
    result.spec.maxReplicas = hpa.spec.maxReplicas
    for metric in hpa.spec.metrics:
        if metric.type == "Resource" and metric.resource.name == "cpu":
            utilization = metric.resource.target.averageUtilization
            result.spec.targetCPUUtilizationPercentage = utilization
    if hpa.HasField("status"):
        result.status.currentReplicas = hpa.status.currentReplicas
        result.status.desiredReplicas = hpa.status.desiredReplicas
    return result
