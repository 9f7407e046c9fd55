"""Pods stay on a node that is not ready or unreachable for five minutes, unless they say else.

Source: k8s.io/kubernetes plugin/pkg/admission/defaulttolerationseconds/admission.go.
"""

from apiserver.admission.interface import Attributes
from apiserver.admission.pods import is_pod, pod_of
from protos.k8s.core_v1_pb2 import Pod, Toleration

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
NO_EXECUTE = "NoExecute"
DEFAULT_S = 300


class DefaultTolerationSeconds:
    """Mutating. Seconds as `--default-not-ready-toleration-seconds` and `...-unreachable-...`."""

    name = "DefaultTolerationSeconds"

    def __init__(self, not_ready_s: int = DEFAULT_S, unreachable_s: int = DEFAULT_S) -> None:
        self._seconds = {NOT_READY: not_ready_s, UNREACHABLE: unreachable_s}

    def handles(self, attributes: Attributes) -> bool:
        return is_pod(attributes, ("CREATE", "UPDATE"))

    async def admit(self, attributes: Attributes) -> None:
        pod = pod_of(attributes)
        for key, seconds in self._seconds.items():
            if not _tolerates(pod, key):
                pod.spec.tolerations.append(
                    Toleration(
                        key=key, operator="Exists", effect=NO_EXECUTE, tolerationSeconds=seconds
                    )
                )


def _tolerates(pod: Pod, key: str) -> bool:
    return any(
        toleration.key in {key, ""} and toleration.effect in {NO_EXECUTE, ""}
        for toleration in pod.spec.tolerations
    )
