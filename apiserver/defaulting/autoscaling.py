"""Defaults of autoscaling/v1 and v2.

Source: pkg/apis/autoscaling/{v1,v2}/defaults.go.
"""

from protos.k8s import autoscaling_v1_pb2
from protos.k8s.autoscaling_v2_pb2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HPAScalingRules,
)

_CPU_PERCENT = 80
_PERIOD_SECONDS = 15


def autoscaler_v1_defaults(autoscaler: autoscaling_v1_pb2.HorizontalPodAutoscaler) -> None:
    if not autoscaler.spec.HasField("minReplicas"):
        autoscaler.spec.minReplicas = 1


def autoscaler_defaults(autoscaler: HorizontalPodAutoscaler) -> None:
    spec = autoscaler.spec
    if not spec.HasField("minReplicas"):
        spec.minReplicas = 1
    if not spec.metrics:
        metric = spec.metrics.add(type="Resource")
        metric.resource.name = "cpu"
        metric.resource.target.type = "Utilization"
        metric.resource.target.averageUtilization = _CPU_PERCENT
    if spec.HasField("behavior"):
        _behavior_defaults(spec.behavior)


def _behavior_defaults(behavior: HorizontalPodAutoscalerBehavior) -> None:
    up, down = behavior.scaleUp, behavior.scaleDown
    if not up.HasField("stabilizationWindowSeconds"):
        up.stabilizationWindowSeconds = 0
    _rules_defaults(up, (("Pods", 4), ("Percent", 100)))
    _rules_defaults(down, (("Percent", 100),))


def _rules_defaults(rules: HPAScalingRules, policies: tuple[tuple[str, int], ...]) -> None:
    if not rules.HasField("selectPolicy"):
        rules.selectPolicy = "Max"
    if not rules.policies:
        for kind, value in policies:
            rules.policies.add(type=kind, value=value, periodSeconds=_PERIOD_SECONDS)
