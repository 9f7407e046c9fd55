"""Runs a container's probes, each in its own task, for as long as its Pod is worked on.

    no container ──> initial delay ──> probing ──threshold──> verdict
         ^                                │ liveness or startup failed
         └── a new container id ──────────┘ (on hold until it is replaced)

Source: pkg/kubelet/prober/{prober_manager,worker,prober}.go.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from kubelet.cri_client import Cri, CriError
from kubelet.events import WARNING, PodEvents
from kubelet.pod_actions import ProbeOutcome
from kubelet.probes.network import OUTPUT_MAX_BYTES, NetworkProbes, Outcome, resolve_port
from kubelet.probes.results import ProbeType, Results
from kubelet.runtime_status import EXITED, RUNNING, RuntimePodStatus, is_sidecar
from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

MAX_RETRIES = 3
_FIELDS = {
    ProbeType.STARTUP: "startupProbe",
    ProbeType.READINESS: "readinessProbe",
    ProbeType.LIVENESS: "livenessProbe",
}
_INITIAL = {
    ProbeType.STARTUP: ProbeOutcome.UNKNOWN,
    ProbeType.READINESS: ProbeOutcome.FAILURE,
    ProbeType.LIVENESS: ProbeOutcome.SUCCESS,
}
_Key = tuple[str, str, ProbeType]


@dataclass(slots=True)
class ProbeParts:
    """What probing needs of the node."""

    runtime: Cri
    network: NetworkProbes
    results: Results
    events: PodEvents
    clock: Clock
    rng: random.Random


class Prober:
    """The probes of one node's Pods. Its tasks live in `tasks`."""

    def __init__(
        self, parts: ProbeParts, runtime_status: Callable[[str], RuntimePodStatus]
    ) -> None:
        self._parts = parts
        self._status = runtime_status
        self._workers: dict[_Key, asyncio.Task[None]] = {}

    def add_pod(self, pod: core.Pod, tasks: asyncio.TaskGroup) -> None:
        """Starts the probes that do not run yet. Cheap for a Pod without probes."""
        sidecars = [c for c in pod.spec.initContainers if is_sidecar(c)]
        for container in (*sidecars, *pod.spec.containers):
            for kind, name in _FIELDS.items():
                if container.HasField(name):
                    self._add(pod, container, kind, tasks)

    def _add(
        self, pod: core.Pod, container: core.Container, kind: ProbeType, tasks: asyncio.TaskGroup
    ) -> None:
        key = (pod.metadata.uid, container.name, kind)
        if key in self._workers:
            return
        worker = _Worker(self._parts, self._status, pod, container, kind)
        task = tasks.create_task(worker.run(), name=f"probe-{container.name}")
        self._workers[key] = task
        task.add_done_callback(lambda _: self._workers.pop(key, None))

    def remove_pod(self, uid: str) -> None:
        for key in [k for k in self._workers if k[0] == uid]:
            self._workers.pop(key).cancel()

    def stop_liveness_and_startup(self, uid: str) -> None:
        """While a Pod terminates only its readiness is still of interest."""
        for key in [k for k in self._workers if k[0] == uid and k[2] is not ProbeType.READINESS]:
            self._workers.pop(key).cancel()


class _Worker:
    """One probe of one container."""

    def __init__(
        self,
        parts: ProbeParts,
        status: Callable[[str], RuntimePodStatus],
        pod: core.Pod,
        container: core.Container,
        kind: ProbeType,
    ) -> None:
        self._parts = parts
        self._status = status
        self._pod = pod
        self._container = container
        self._kind = kind
        self._probe: core.Probe = getattr(container, _FIELDS[kind])
        self._container_id = ""
        self._on_hold = False
        self._last: bool | None = None
        self._run = 0

    async def run(self) -> None:
        period = float(self._probe.periodSeconds or 10)
        try:
            while await self._step():
                await self._parts.clock.sleep(period if self._container_id else min(period, 1.0))
        finally:
            if self._container_id:
                self._parts.results.forget(self._kind, self._container_id)

    async def _step(self) -> bool:
        """One round; False when the container will not be probed any more."""
        latest = self._status(self._pod.metadata.uid).latest(self._container.name)
        results, uid = self._parts.results, self._pod.metadata.uid
        if latest is None:
            return True
        if latest.id != self._container_id:
            if self._container_id:
                results.forget(self._kind, self._container_id)
            self._container_id, self._on_hold, self._last, self._run = latest.id, False, None, 0
            if results.get(self._kind, latest.id) is None:
                results.set(self._kind, latest.id, _INITIAL[self._kind], uid)
        if latest.state != RUNNING:
            if self._kind is ProbeType.READINESS:
                results.set(self._kind, latest.id, ProbeOutcome.FAILURE, uid)
            may_run_again = self._pod.spec.restartPolicy != "Never" or is_sidecar(self._container)
            return latest.state != EXITED or may_run_again
        if self._on_hold or self._too_early(latest.started_at) or not self._is_turn(latest.id):
            return True
        await self._probe_once(latest.id)
        return True

    def _too_early(self, started_at_ns: int) -> bool:
        elapsed = self._parts.clock.now().timestamp() - started_at_ns / 1e9
        return elapsed < self._probe.initialDelaySeconds

    def _is_turn(self, container_id: str) -> bool:
        """The startup probe runs until it succeeds, the others only after that."""
        if not self._container.HasField("startupProbe"):
            return True
        started = self._parts.results.get(ProbeType.STARTUP, container_id) is ProbeOutcome.SUCCESS
        return started is not (self._kind is ProbeType.STARTUP)

    async def _probe_once(self, container_id: str) -> None:
        outcome = await self._try(container_id)
        if not outcome.ok:
            self._parts.events.container(
                self._pod,
                self._container.name,
                WARNING,
                "Unhealthy",
                f"{self._kind.value} probe failed: {outcome.output}",
            )
        self._run = self._run + 1 if self._last is outcome.ok else 1
        self._last = outcome.ok
        threshold = self._probe.successThreshold if outcome.ok else self._probe.failureThreshold
        if self._run < (threshold or (1 if outcome.ok else 3)):
            return
        verdict = ProbeOutcome.SUCCESS if outcome.ok else ProbeOutcome.FAILURE
        uid = self._pod.metadata.uid
        self._parts.results.set(self._kind, container_id, verdict, uid)
        if not outcome.ok and self._kind is not ProbeType.READINESS:
            # The container is to be restarted: it is not asked again until it is a new one.
            self._on_hold = True
            self._run = 0

    async def _try(self, container_id: str) -> Outcome:
        timeout = float(self._probe.timeoutSeconds or 1)
        handler = self._probe.handler
        if handler.HasField("exec"):
            return await self._exec(container_id, list(handler.exec.command), timeout)
        ips = self._status(self._pod.metadata.uid).ips
        ip = ips[0] if ips else "127.0.0.1"
        network = self._parts.network
        if handler.HasField("grpc"):
            check = handler.grpc
            return await network.grpc(ip, check.port, check.service, timeout)
        http = handler.HasField("httpGet")
        port = resolve_port(
            handler.httpGet.port if http else handler.tcpSocket.port, self._container
        )
        if port is None:
            return Outcome(False, "couldn't find the probe's port among the container's")
        if http:
            get = handler.httpGet
            return await network.http(get, host=get.host or ip, port=port, timeout_s=timeout)
        return await network.tcp(handler.tcpSocket.host or ip, port, timeout)

    async def _exec(self, container_id: str, command: list[str], timeout_s: float) -> Outcome:
        """A probe that cannot be asked is asked again; one that fails is not."""
        request = cri.ExecSyncRequest(
            container_id=container_id, cmd=command, timeout=int(timeout_s)
        )
        failure = ""
        for _ in range(MAX_RETRIES):
            try:
                answer = await self._parts.runtime.ExecSync(request)
            except CriError as error:
                failure = str(error)
                if error.code == "DEADLINE_EXCEEDED":
                    return Outcome(
                        False,
                        f"command {' '.join(command)!r} timed out after {timeout_s:.0f}s",
                    )
                continue
            output = (answer.stdout + answer.stderr)[:OUTPUT_MAX_BYTES].decode("utf-8", "replace")
            return Outcome(answer.exit_code == 0, output)
        return Outcome(False, failure)
