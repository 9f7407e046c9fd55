"""Which container a request means, and where the runtime streams to and from it.

Source: pkg/kubelet/kubelet_pods.go (GetExec, GetAttach, GetPortForward, GetContainerLogs).
"""

from collections.abc import Mapping

from multidict import MultiMapping

from kubelet.kubelet import Kubelet
from kubelet.runtime_status import RUNNING, RuntimePodStatus
from podpath.api import errors
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

_TRUE = ("1", "true")


class ContainerStreams:
    """Looks things up for the server."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    def pod(self, namespace: str, name: str) -> core.Pod:
        """Raises: ApiError NotFound."""
        for pod in self._kubelet.workers.pods():
            if pod.metadata.name == name and pod.metadata.namespace == namespace:
                return pod
        raise errors.not_found("", "pods", name)

    def container_with_log(
        self, pod: core.Pod, name: str, *, previous: bool
    ) -> cri.ContainerStatus:
        """Raises: ApiError, when there is no such container or it has not run."""
        names = [c.name for c in (*pod.spec.initContainers, *pod.spec.containers)]
        names += [c.ephemeralContainerCommon.name for c in pod.spec.ephemeralContainers]
        if name not in names:
            raise errors.new(
                "NotFound", f'container "{name}" not found in pod "{pod.metadata.name}"'
            )
        shown = self._shown(pod, name)
        which = f'container "{name}" in pod "{pod.metadata.name}"'
        last = shown.lastState.terminated.containerID
        if previous:
            container_id, complaint = last, f"previous terminated {which} not found"
        else:
            ended = shown.state.HasField("running") or shown.state.HasField("terminated")
            container_id = shown.containerID if ended else last
            reason = shown.state.waiting.reason or "ContainerCreating"
            complaint = f"{which} is waiting to start: {reason}"
        runtime = self._kubelet.pleg.get(pod.metadata.uid)
        record = runtime.by_id(container_id.rpartition("://")[2]) if container_id else None
        if record is None or not record.log_path:
            raise errors.bad_request(complaint)
        return record

    def _shown(self, pod: core.Pod, name: str) -> core.ContainerStatus:
        status = self._kubelet.statuses.known(pod)
        for shown in (
            *status.initContainerStatuses,
            *status.containerStatuses,
            *status.ephemeralContainerStatuses,
        ):
            if shown.name == name:
                return shown
        return core.ContainerStatus()

    async def url(self, path: str, match: Mapping[str, str], query: "MultiMapping[str]") -> str:
        """The runtime's URL for an exec, attach or portForward. Raises: ApiError, CriError."""
        pod = self.pod(match["namespace"], match["pod"])
        status = self._kubelet.pleg.get(pod.metadata.uid)
        runtime = self._kubelet.runtime
        if path.startswith("/portForward/"):
            sandbox = status.ready_sandbox
            if sandbox is None:
                raise errors.new("NotFound", f'pod "{pod.metadata.name}" has no ready sandbox')
            ports = [int(p) for p in query.getall("port", []) if p.isdigit()]
            forward = cri.PortForwardRequest(pod_sandbox_id=sandbox.id, port=ports)
            return (await runtime.PortForward(forward)).url
        container_id = _running(status, pod, match["container"])
        stdin = query.get("input", query.get("stdin", "")) in _TRUE
        stdout = query.get("output", query.get("stdout", "")) in _TRUE
        stderr = query.get("error", query.get("stderr", "")) in _TRUE
        tty = query.get("tty", "") in _TRUE
        if not (stdin or stdout or stderr):
            raise errors.bad_request("you must specify at least 1 of stdin, stdout, stderr")
        if path.startswith("/attach/"):
            attach = cri.AttachRequest(
                container_id=container_id,
                stdin=stdin,
                tty=tty,
                stdout=stdout,
                stderr=stderr and not tty,
            )
            return (await runtime.Attach(attach)).url
        request = cri.ExecRequest(
            container_id=container_id,
            cmd=query.getall("command", []),
            tty=tty,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr and not tty,
        )
        return (await runtime.Exec(request)).url


def _running(status: RuntimePodStatus, pod: core.Pod, name: str) -> str:
    latest = status.latest(name)
    if latest is None:
        raise errors.new("NotFound", f'container "{name}" not found in pod "{pod.metadata.name}"')
    if latest.state != RUNNING:
        raise errors.bad_request(f'container "{name}" of pod "{pod.metadata.name}" does not run')
    return latest.id
