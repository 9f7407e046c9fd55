"""Stops containers and sandboxes, gracefully.

Source: pkg/kubelet/kuberuntime/{kuberuntime_container,kuberuntime_termination_order}.go.
"""

import asyncio
import logging

from kubelet.cri_client import Cri, CriError
from kubelet.events import NORMAL, WARNING, PodEvents
from kubelet.lifecycle_hooks import HookError, LifecycleHooks
from kubelet.pod_record import Expect, PodRecord
from kubelet.runtime_status import (
    CONTAINER_NAME_LABEL,
    EXITED,
    POD_DELETION_GRACE_ANNOTATION,
    POD_TERMINATION_GRACE_ANNOTATION,
    RuntimePodStatus,
    is_sidecar,
)
from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)

MIN_GRACE_S = 2
DEFAULT_GRACE_S = 30


class ContainerKiller:
    """Stops things of one node."""

    def __init__(
        self, runtime: Cri, hooks: LifecycleHooks, events: PodEvents, clock: Clock
    ) -> None:
        self._cri = runtime
        self._hooks = hooks
        self._events = events
        self._clock = clock

    async def kill_pod(self, record: PodRecord, status: RuntimePodStatus) -> None:
        """All containers, sidecars after the others and in reverse; then the sandboxes.

        Raises: CriError, after everything has been tried.
        """
        pod = record.pod
        sidecars = [c.name for c in pod.spec.initContainers if is_sidecar(c)]
        alive = [c for c in status.containers if c.state != EXITED]
        deadline = self._clock.monotonic() + grace_of(record, alive)
        first = [c for c in alive if c.metadata.name not in sidecars]
        failures = await self._kill_all(record, status, first, deadline)
        for name in reversed(sidecars):
            chosen = [c for c in alive if c.metadata.name == name]
            failures += await self._kill_all(record, status, chosen, deadline)
        for sandbox in status.sandboxes:
            try:
                record.expected[sandbox.id] = Expect.STOPPED
                await self._cri.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox.id))
            except CriError as error:
                record.expected.pop(sandbox.id, None)
                if error.code != "NOT_FOUND":
                    failures.append(error)
        if failures:
            raise failures[0]

    async def _kill_all(
        self,
        record: PodRecord,
        status: RuntimePodStatus,
        containers: list[cri.ContainerStatus],
        deadline: float,
    ) -> list[CriError]:
        if not containers:
            return []
        grace = max(0.0, deadline - self._clock.monotonic())
        results = await asyncio.gather(
            *(
                self.kill_container(record, status, c.id, "", c.metadata.name, grace_s=grace)
                for c in containers
            ),
            return_exceptions=True,
        )
        failures: list[CriError] = []
        for result in results:
            if isinstance(result, CriError):
                failures.append(result)
            elif isinstance(result, BaseException):
                raise result
        return failures

    async def kill_container(
        self,
        record: PodRecord,
        status: RuntimePodStatus,
        container_id: str,
        message: str,
        name: str = "",
        *,
        grace_s: float | None = None,
    ) -> None:
        """1 Killing event · 2 preStop, within the grace · 3 StopContainer with what is left."""
        pod = record.pod
        found = status.by_id(container_id)
        if found is not None and not name:
            name = found.labels.get(CONTAINER_NAME_LABEL, found.metadata.name)
        grace = (
            grace_of(record, [found] if found is not None else []) if grace_s is None else grace_s
        )
        # 1
        self._events.container(
            pod, name, NORMAL, "Killing", message or f"Stopping container {name}"
        )
        # 2
        container = _spec_of(pod, name)
        if container is not None and container.lifecycle.HasField("preStop") and grace > 0:
            grace -= await self._pre_stop(pod, container, container_id, status, grace)
        # 3
        grace = max(grace, MIN_GRACE_S)
        record.expected[container_id] = Expect.STOPPED
        try:
            await self._cri.StopContainer(
                cri.StopContainerRequest(container_id=container_id, timeout=int(grace))
            )
        except CriError as error:
            if error.code == "NOT_FOUND":
                return
            record.expected.pop(container_id, None)
            raise

    async def _pre_stop(
        self,
        pod: core.Pod,
        container: core.Container,
        container_id: str,
        status: RuntimePodStatus,
        grace_s: float,
    ) -> float:
        """Returns the seconds it took."""
        began = self._clock.monotonic()
        ips = status.ips
        hook = self._hooks.run(
            container.lifecycle.preStop, container, container_id, ips[0] if ips else ""
        )
        try:
            async with asyncio.timeout(grace_s):
                await hook
        except TimeoutError:
            log.info("preStop ran out of time", extra={"pod": pod.metadata.name})
        except HookError as error:
            self._events.container(
                pod, container.name, WARNING, "FailedPreStopHook", f"PreStopHook failed: {error}"
            )
        return self._clock.monotonic() - began


def grace_of(record: PodRecord, containers: list[cri.ContainerStatus]) -> float:
    """Seconds, from who asks for the end, else the Pod, else what its containers remember."""
    pod = record.pod
    if record.grace_s is not None:
        return record.grace_s
    if pod.metadata.HasField("deletionGracePeriodSeconds"):
        return pod.metadata.deletionGracePeriodSeconds
    if pod.spec.HasField("terminationGracePeriodSeconds"):
        return pod.spec.terminationGracePeriodSeconds
    for container in containers:
        for annotation in (POD_DELETION_GRACE_ANNOTATION, POD_TERMINATION_GRACE_ANNOTATION):
            text = container.annotations.get(annotation, "")
            if text.isdigit():
                return int(text)
    return DEFAULT_GRACE_S


def _spec_of(pod: core.Pod, name: str) -> core.Container | None:
    for container in (*pod.spec.containers, *pod.spec.initContainers):
        if container.name == name:
            return container
    return None
