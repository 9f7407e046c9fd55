"""Removes what the runtime holds and nobody needs: old containers, old sandboxes, gone Pods.

Source: pkg/kubelet/kuberuntime/kuberuntime_gc.go, pkg/kubelet/pod_container_deletor.go.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kubelet.cri_client import Cri, CriError
from kubelet.pleg import Pleg
from kubelet.pod_dirs import PodFiles
from kubelet.pod_record import PodRecord
from kubelet.runtime_config import container_log_link
from kubelet.runtime_status import RUNNING, RuntimePodStatus
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)

PERIOD_S = 60.0
KEEP_PER_CONTAINER = 1


@dataclass(frozen=True, slots=True)
class Garbage:
    """ids to remove, containers first."""

    containers: tuple[str, ...] = ()
    sandboxes: tuple[str, ...] = ()


def garbage_of(
    status: RuntimePodStatus,
    inside: Mapping[str, Sequence[cri.ContainerStatus]],
    *,
    keep: int = KEEP_PER_CONTAINER,
) -> Garbage:
    """Of a Pod that goes on: all but the newest `keep` of each container's records that do not
    run, and sandboxes that are over, empty and not the newest. Pure.

    `inside` has the containers of each sandbox, by its id.
    """
    dead: dict[str, int] = {}
    containers = []
    for container in status.containers:
        name = container.metadata.name
        if container.state == RUNNING or status.latest(name) is container:
            dead[name] = dead.get(name, 0) + (container.state != RUNNING)
            continue
        dead[name] = dead.get(name, 0) + 1
        if dead[name] > keep:
            containers.append(container.id)
    going = set(containers)
    sandboxes = [
        s.id
        for s in status.sandboxes[1:]
        if s.state == cri.SANDBOX_NOTREADY and all(c.id in going for c in inside.get(s.id, ()))
    ]
    return Garbage(tuple(containers), tuple(sandboxes))


def orphan(status: RuntimePodStatus) -> PodRecord:
    """A record for a Pod of which only the runtime knows: enough to stop and remove it."""
    pod = core.Pod()
    pod.metadata.uid = status.uid
    pod.metadata.name = status.name
    pod.metadata.namespace = status.namespace
    return PodRecord(pod, wanted=False)


class ContainerGc:
    """Garbage collection of one node."""

    def __init__(self, runtime: Cri, pleg: Pleg, files: PodFiles, container_logs_dir: str) -> None:
        self._cri = runtime
        self._pleg = pleg
        self._files = files
        self._container_logs_dir = container_logs_dir

    async def collect(self, uids: Iterable[str]) -> None:
        """Removes the garbage of these Pods."""
        for uid in uids:
            status = self._pleg.get(uid)
            garbage = garbage_of(status, self._pleg.inside(uid))
            if garbage.containers or garbage.sandboxes:
                await self._remove(status, garbage)

    async def remove_pod(self, uid: str) -> None:
        """Removes all of a Pod, which must not run any more."""
        status = self._pleg.get(uid)
        running = {c.id for c in status.containers if c.state == RUNNING}
        if running:
            log.error("not removed, it still runs", extra={"uid": uid})
            return
        await self._remove(
            status,
            Garbage(tuple(c.id for c in status.containers), tuple(s.id for s in status.sandboxes)),
        )

    async def _remove(self, status: RuntimePodStatus, garbage: Garbage) -> None:
        try:
            for container_id in garbage.containers:
                await self._cri.RemoveContainer(
                    cri.RemoveContainerRequest(container_id=container_id)
                )
                self._remove_log(status, container_id)
            for sandbox_id in garbage.sandboxes:
                await self._cri.RemovePodSandbox(
                    cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
                )
        except CriError as error:
            if error.code != "NOT_FOUND":
                log.warning("not removed", extra={"error": str(error)})

    def _remove_log(self, status: RuntimePodStatus, container_id: str) -> None:
        container = status.by_id(container_id)
        if container is None or not container.log_path:
            return
        name = container.metadata.name
        link = container_log_link(
            self._container_logs_dir, status.name, status.namespace, name, container_id
        )
        try:
            self._files.remove_log(container.log_path, link)
        except OSError as error:
            log.warning("log not removed", extra={"id": container_id, "error": str(error)})
