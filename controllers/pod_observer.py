"""Step 18 of a Pod's path: a controller has seen that the Pod runs.

Stamped for every Pod, also one that no controller owns.
"""

from controllers.reconciler import Context
from podpath.api.scheme import PODS
from podpath.client.informer import Handlers
from podpath.component_base.pod_trace import PodStep, stamp
from protos.k8s.core_v1_pb2 import Pod

RUNNING = "Running"


class PodObserver:
    """Follows the Pods that all controllers share; has no loop of its own."""

    def __init__(self, context: Context) -> None:
        context.informers.informer(PODS).add_handlers(Handlers(on_update=self._updated))

    def _updated(self, old: Pod, new: Pod) -> None:
        if new.status.phase == RUNNING and old.status.phase != RUNNING:
            stamp(PodStep.RECONCILED, new.metadata.uid, RUNNING, new.metadata.annotations)
