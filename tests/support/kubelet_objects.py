"""Pods and runtime records for tables."""

from kubelet.runtime_config import container_hash
from kubelet.runtime_status import (
    HASH_ANNOTATION,
    RESTART_COUNT_ANNOTATION,
    RuntimePodStatus,
    runtime_pod_status,
)
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

SECOND = 1_000_000_000


def pod_of(*containers: str, init: tuple[str, ...] = (), restart: str = "Always") -> core.Pod:
    """Names that end in `+` are sidecars."""
    pod = core.Pod()
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = "web", "default", "u1"
    pod.spec.restartPolicy = restart
    for name in init:
        added = pod.spec.initContainers.add(name=name.rstrip("+"), image="app:1")
        if name.endswith("+"):
            added.restartPolicy = "Always"
    for name in containers:
        pod.spec.containers.add(name=name, image="app:1")
    return pod


def sandbox(
    *, ready: bool = True, attempt: int = 0, ip: str = "10.0.0.5", host_network: bool = False
) -> cri.PodSandboxStatus:
    status = cri.PodSandboxStatus(
        id=f"s{attempt}",
        metadata=cri.PodSandboxMetadata(name="web", namespace="default", uid="u1", attempt=attempt),
        state=cri.SANDBOX_READY if ready else cri.SANDBOX_NOTREADY,
        created_at=attempt,
    )
    status.network.ip = ip
    status.linux.namespaces.options.network = cri.NODE if host_network else cri.POD
    return status


def record(name: str, state: str, *, code: int = 0, attempt: int = 0, image: str = "app:1"):
    """A container's record: state is created, running, exited or unknown."""
    status = cri.ContainerStatus(
        id=f"{name}-{attempt}",
        metadata=cri.ContainerMetadata(name=name, attempt=attempt),
        state=cri.ContainerState.Value(f"CONTAINER_{state.upper()}"),
        created_at=(10 + attempt) * SECOND,
        started_at=(11 + attempt) * SECOND,
        exit_code=code,
        image=cri.ImageSpec(image="app:1"),
        image_ref="sha256:1",
    )
    if state == "exited":
        status.finished_at = (20 + attempt) * SECOND
    status.annotations[HASH_ANNOTATION] = container_hash(core.Container(name=name, image=image))
    status.annotations[RESTART_COUNT_ANNOTATION] = str(attempt)
    return status


def runtime(*records: cri.ContainerStatus, sandboxes=None) -> RuntimePodStatus:
    return runtime_pod_status("u1", [sandbox()] if sandboxes is None else sandboxes, records, 0.0)
