"""Which taints a Pod tolerates.

Source: k8s.io/api core/v1/toleration.go, k8s.io/component-helpers scheduling/corev1/helpers.go.
"""

from collections.abc import Iterable

from protos.k8s.core_v1_pb2 import Taint, Toleration


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Effect and key match (empty: any), and the operator holds."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in ("", "Equal"):
        return toleration.value == taint.value
    return toleration.operator == "Exists"


def first_untolerated(
    taints: Iterable[Taint], tolerations: Iterable[Toleration], effects: Iterable[str]
) -> Taint | None:
    """The first taint of these effects that no toleration covers."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(t, taint) for t in tolerations):
            return taint
    return None
