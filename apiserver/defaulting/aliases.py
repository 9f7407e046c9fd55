"""Fields that say the same thing twice, for old clients: they are brought in line.

Upstream does this when it converts between a version and its internal form.
Source: pkg/apis/core/v1/conversion.go.
"""

from collections.abc import Callable
from typing import Any

from protos.k8s.core_v1_pb2 import Node, Pod, PodSpec, Secret


def align(api_version: str, kind: str, message: Any) -> None:
    """Aligns the aliases of one object, in place."""
    aligned = _ALIASES.get((api_version, kind))
    if aligned is not None:
        aligned(message)


def _pod(pod: Pod) -> None:
    _pod_spec(pod.spec)
    status = pod.status
    if status.podIP and not status.podIPs:
        status.podIPs.add(ip=status.podIP)
    elif status.podIPs and not status.podIP:
        status.podIP = status.podIPs[0].ip
    if status.hostIP and not status.hostIPs:
        status.hostIPs.add(ip=status.hostIP)


def _pod_spec(spec: PodSpec) -> None:
    """`serviceAccount` is the old name of `serviceAccountName`."""
    if spec.serviceAccountName:
        spec.serviceAccount = spec.serviceAccountName
    elif spec.serviceAccount:
        spec.serviceAccountName = spec.serviceAccount


def _template(workload: Any) -> None:
    _pod_spec(workload.spec.template.spec)


def _node(node: Node) -> None:
    spec = node.spec
    if spec.podCIDR and not spec.podCIDRs:
        spec.podCIDRs.append(spec.podCIDR)
    elif spec.podCIDRs and not spec.podCIDR:
        spec.podCIDR = spec.podCIDRs[0]


def _secret(secret: Secret) -> None:
    """`stringData` is for writing only: it becomes data and is never stored."""
    for key, text in secret.stringData.items():
        secret.data[key] = text.encode()
    secret.ClearField("stringData")


_ALIASES: dict[tuple[str, str], Callable[[Any], None]] = {
    ("v1", "Pod"): _pod,
    ("v1", "Node"): _node,
    ("v1", "Secret"): _secret,
    ("v1", "PodTemplate"): lambda template: _pod_spec(template.template.spec),
    ("v1", "ReplicationController"): lambda controller: (
        _template(controller) if controller.spec.HasField("template") else None
    ),
    ("apps/v1", "DaemonSet"): _template,
    ("apps/v1", "Deployment"): _template,
    ("apps/v1", "ReplicaSet"): _template,
    ("apps/v1", "StatefulSet"): _template,
    ("batch/v1", "Job"): _template,
    ("batch/v1", "CronJob"): lambda cron_job: _template(cron_job.spec.jobTemplate),
}
