"""What the runtime knows about one Pod, as the deciders read it. Pure.

Source: pkg/kubelet/container/runtime.go (PodStatus), kuberuntime/labels.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

POD_NAME_LABEL = "io.kubernetes.pod.name"
POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
POD_UID_LABEL = "io.kubernetes.pod.uid"
CONTAINER_NAME_LABEL = "io.kubernetes.container.name"
HASH_ANNOTATION = "io.kubernetes.container.hash"
RESTART_COUNT_ANNOTATION = "io.kubernetes.container.restartCount"
TERMINATION_PATH_ANNOTATION = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY_ANNOTATION = "io.kubernetes.container.terminationMessagePolicy"
PRE_STOP_ANNOTATION = "io.kubernetes.container.preStopHandler"
PORTS_ANNOTATION = "io.kubernetes.container.ports"
POD_DELETION_GRACE_ANNOTATION = "io.kubernetes.pod.deletionGracePeriod"
POD_TERMINATION_GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"

CREATED = cri.CONTAINER_CREATED
RUNNING = cri.CONTAINER_RUNNING
EXITED = cri.CONTAINER_EXITED
UNKNOWN = cri.CONTAINER_UNKNOWN


@dataclass(frozen=True, slots=True)
class RuntimePodStatus:
    """The Pod's sandboxes and containers, newest first. CRI's own messages, shared: read-only."""

    uid: str
    name: str = ""
    namespace: str = ""
    sandboxes: tuple[cri.PodSandboxStatus, ...] = ()
    containers: tuple[cri.ContainerStatus, ...] = ()
    # When this was learned, in Clock.monotonic() seconds.
    at: float = 0.0

    def latest(self, container: str) -> cri.ContainerStatus | None:
        """The newest container of that name."""
        for status in self.containers:
            if status.metadata.name == container:
                return status
        return None

    def of(self, container: str) -> list[cri.ContainerStatus]:
        """All containers of that name, newest first."""
        return [s for s in self.containers if s.metadata.name == container]

    def by_id(self, container_id: str) -> cri.ContainerStatus | None:
        for status in self.containers:
            if status.id == container_id:
                return status
        return None

    @property
    def running(self) -> list[cri.ContainerStatus]:
        return [s for s in self.containers if s.state == RUNNING]

    @property
    def ready_sandbox(self) -> cri.PodSandboxStatus | None:
        for sandbox in self.sandboxes:
            if sandbox.state == cri.SANDBOX_READY:
                return sandbox
        return None

    @property
    def ips(self) -> list[str]:
        """The Pod's addresses, as its newest sandbox has them; empty unless that is ready."""
        if not self.sandboxes or self.sandboxes[0].state != cri.SANDBOX_READY:
            return []
        network = self.sandboxes[0].network
        return [ip for ip in (network.ip, *(a.ip for a in network.additional_ips)) if ip]


def runtime_pod_status(
    uid: str,
    sandboxes: Iterable[cri.PodSandboxStatus],
    containers: Iterable[cri.ContainerStatus],
    at: float,
) -> RuntimePodStatus:
    """Sorts what was collected: sandboxes by attempt, containers by time of creation."""
    ordered = sorted(sandboxes, key=lambda s: (s.metadata.attempt, s.created_at), reverse=True)
    found = sorted(containers, key=lambda c: (c.created_at, c.metadata.attempt), reverse=True)
    name = namespace = ""
    if ordered:
        name, namespace = ordered[0].metadata.name, ordered[0].metadata.namespace
    elif found:
        labels = found[0].labels
        name, namespace = labels[POD_NAME_LABEL], labels[POD_NAMESPACE_LABEL]
    return RuntimePodStatus(uid, name, namespace, tuple(ordered), tuple(found), at)


def pod_uid_of(labels: Mapping[str, str], metadata_uid: str = "") -> str:
    """The uid of the Pod that a sandbox or container belongs to; empty for foreign ones."""
    return metadata_uid or labels.get(POD_UID_LABEL, "")


def restart_count(status: cri.ContainerStatus) -> int:
    text = status.annotations.get(RESTART_COUNT_ANNOTATION, "")
    return int(text) if text.isdigit() else status.metadata.attempt


def is_sidecar(container: core.Container) -> bool:
    """True for an init container that keeps running (restartPolicy Always)."""
    return container.restartPolicy == "Always"
