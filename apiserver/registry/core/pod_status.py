"""The subresource pods/status: what kubelets report.

Source: pkg/registry/core/pod/strategy.go (podStatusStrategy).
"""

from typing import Any

from apiserver.registry.strategy import StatusStrategy
from podpath.component_base.pod_trace import PodStep, stamp
from protos.k8s.core_v1_pb2 import Pod


class PodStatusStrategy(StatusStrategy):
    """Only the status changes; its QoS class cannot be lost."""

    def prepare_for_update(self, new: Any, old: Any) -> None:
        super().prepare_for_update(new, old)
        if not new.status.qosClass:
            new.status.qosClass = old.status.qosClass


def stamp_running(new: Pod, old: Pod) -> None:
    """Call when a status is stored: the first Running is the path's step 17."""
    if new.status.phase == "Running" and old.status.phase != "Running":
        meta = new.metadata
        stamp(PodStep.STATUS_RUNNING, meta.uid, meta.resourceVersion, meta.annotations)
