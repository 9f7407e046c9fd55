"""Which Secrets a Pod may use: all, unless its ServiceAccount is annotated to enforce its list.

Source: k8s.io/kubernetes plugin/pkg/admission/serviceaccount/admission.go
(limitSecretReferences).
"""

from collections.abc import Iterator

from apiserver.admission.pods import containers
from protos.k8s.core_v1_pb2 import Pod, ServiceAccount

ENFORCE_ANNOTATION = "kubernetes.io/enforce-mountable-secrets"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})  # what Go's ParseBool takes


def secret_violation(account: ServiceAccount, pod: Pod) -> str:
    """What is wrong with the Pod's Secrets, or ""."""
    if account.metadata.annotations.get(ENFORCE_ANNOTATION, "") not in _TRUE:
        return ""
    allowed = {reference.name for reference in account.secrets}
    tail = f"is not allowed because service account {account.metadata.name} does not reference that"
    for what, name in _uses(pod):
        if name not in allowed:
            return f'{what} secret.secretName="{name}" {tail} secret'
    pullable = {reference.name for reference in account.imagePullSecrets}
    for index, reference in enumerate(pod.spec.imagePullSecrets):
        if reference.name not in pullable:
            return f'imagePullSecrets[{index}].name="{reference.name}" {tail} imagePullSecret'
    return ""


def _uses(pod: Pod) -> Iterator[tuple[str, str]]:
    """(who uses it, the Secret's name)."""
    for volume in pod.spec.volumes:
        if volume.volumeSource.HasField("secret"):
            yield "volume with", volume.volumeSource.secret.secretName
    for kind, container in containers(pod):
        for variable in container.env:
            if variable.valueFrom.HasField("secretKeyRef"):
                name = variable.valueFrom.secretKeyRef.localObjectReference.name
                yield f"{kind} {container.name} with envVar {variable.name} referencing", name
        for source in container.envFrom:
            if source.HasField("secretRef"):
                name = source.secretRef.localObjectReference.name
                yield f"{kind} {container.name} with envFrom referencing", name
