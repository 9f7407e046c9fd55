"""Does what was decided for a Pod: CRI calls in the real kubelet's order.

Source: pkg/kubelet/kuberuntime/{kuberuntime_manager,kuberuntime_container,kuberuntime_sandbox}.go.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from kubelet.backoff import Backoff
from kubelet.container_killer import ContainerKiller
from kubelet.container_statuses import StartFailure
from kubelet.cri_client import Cri, CriError
from kubelet.environment import ContainerConfigError, EnvironmentInput, environment
from kubelet.events import NORMAL, WARNING, PodEvents
from kubelet.images import ImageError, Images
from kubelet.lifecycle_hooks import HookError, LifecycleHooks
from kubelet.pod_actions import PodActions
from kubelet.pod_dirs import PodFiles
from kubelet.pod_record import Expect, Interrupted, PodRecord
from kubelet.runtime_config import (
    ContainerInput,
    NodeFacts,
    container_config,
    container_hash,
    container_log_link,
    hostname_of,
    pod_log_directory,
    sandbox_config,
)
from kubelet.runtime_status import EXITED, RuntimePodStatus, restart_count
from kubelet.volume_payload import VolumeError
from kubelet.volumes import etc_hosts, host_alias_lines, mounts_of
from podpath.component_base.clock import Clock
from podpath.component_base.pod_trace import PodStep, stamp
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)

_ETC_HOSTS = "/etc/hosts"


RETRY_S = 10.0
# A runtime that cannot be reached is probably being restarted.
RETRY_RUNTIME_S = 1.0


class StartError(Exception):
    """One container could not be started; the others go on."""

    def __init__(self, failure: StartFailure, retry_after_s: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class PodInputs:
    """What the containers of a Pod are made with."""

    environment: EnvironmentInput
    paths: Mapping[str, str] = field(default_factory=dict)
    pull_secrets: tuple[core.Secret, ...] = ()
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeParts:
    """Those who help."""

    runtime: Cri
    images: Images
    hooks: LifecycleHooks
    events: PodEvents
    files: PodFiles
    killer: ContainerKiller
    backoff: Backoff
    clock: Clock


class RuntimeManager:
    """Containers of one node."""

    def __init__(self, parts: RuntimeParts, node: NodeFacts) -> None:
        self._parts = parts
        self._cri = parts.runtime
        self.node = node

    async def sync(
        self, record: PodRecord, status: RuntimePodStatus, actions: PodActions, inputs: PodInputs
    ) -> float | None:
        """1 stop what must go · 2 sandbox · 3 ephemeral · 4 init · 5 regular containers.

        Returns after how many seconds a container that is backing off may start; None if none is.
        Raises: CriError, ContainerConfigError, when the sandbox cannot be made; Interrupted.
        """
        pod = record.pod
        # 1
        if actions.kill_pod:
            await self._parts.killer.kill_pod(record, status)
            if not actions.create_sandbox:
                return None
        for kill in actions.kill:
            await self._parts.killer.kill_container(record, status, kill.container_id, kill.message)
        # 2
        config = sandbox_config(pod, actions.attempt, self.node)
        sandbox_id, ips = actions.sandbox_id, status.ips
        if actions.create_sandbox:
            if status.sandboxes:
                self._parts.events.pod(
                    pod,
                    NORMAL,
                    "SandboxChanged",
                    "Pod sandbox changed, it will be killed and re-created.",
                )
            sandbox_id, ips = await self._create_sandbox(record, config, inputs.runtime_handler)
        start = _Start(self, record, status, inputs, sandbox_id, config, ips)
        # 3, 4, 5
        for index in actions.start_ephemeral:
            ephemeral = pod.spec.ephemeralContainers[index]
            common = ephemeral.ephemeralContainerCommon.SerializeToString()
            container = core.Container.FromString(common)
            target = status.latest(ephemeral.targetContainerName)
            await start.container(container, target.id if target is not None else "")
        for index in actions.start_init:
            if not await start.container(pod.spec.initContainers[index]):
                return start.retry_after_s
        for index in actions.start:
            await start.container(pod.spec.containers[index])
        return start.retry_after_s

    async def _create_sandbox(
        self, record: PodRecord, config: cri.PodSandboxConfig, handler: str
    ) -> tuple[str, list[str]]:
        """(id, addresses)"""
        attempt = f"attempt {config.metadata.attempt}"
        stamp(PodStep.CRI_REQUEST, record.uid, attempt, config.annotations)
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=handler)
        try:
            async with critical(record):
                sandbox_id = (await self._cri.RunPodSandbox(request)).pod_sandbox_id
                record.expected[sandbox_id] = Expect.STARTED
        except CriError as error:
            self._parts.events.pod(
                record.pod,
                WARNING,
                "FailedCreatePodSandBox",
                f"Failed to create pod sandbox: {error}",
            )
            raise
        answer = await self._cri.PodSandboxStatus(
            cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        )
        if record.pod.spec.hostNetwork:
            return sandbox_id, list(self.node.host_ips)
        network = answer.status.network
        ips = [network.ip, *(a.ip for a in network.additional_ips)]
        return sandbox_id, [ip for ip in ips if ip]

    async def start_container(
        self,
        start: "_Start",
        container: core.Container,
        target_id: str,
    ) -> None:
        """1 image · 2 configuration · 3 create · 4 start · 5 postStart. Raises: StartError."""
        record, pod, events = start.record, start.record.pod, self._parts.events
        # 1
        try:
            image = await self._parts.images.ensure(
                pod,
                container,
                start.inputs.pull_secrets,
                start.sandbox_config,
                start.inputs.runtime_handler,
            )
        except ImageError as error:
            events.container(
                pod, container.name, WARNING, "Failed", f"Error: {error.failure.reason}"
            )
            raise StartError(error.failure, retry_after(error.__cause__)) from error
        # 2
        latest = start.status.latest(container.name)
        attempt = restart_count(latest) + 1 if latest is not None else start.attempt_of(container)
        try:
            config = self._configure(start, container, attempt, image, target_id)
        except (ContainerConfigError, VolumeError, OSError) as error:
            events.container(pod, container.name, WARNING, "Failed", f"Error: {error}")
            failure = StartFailure("CreateContainerConfigError", str(error))
            raise StartError(failure, RETRY_S) from error
        # 3
        request = cri.CreateContainerRequest(
            pod_sandbox_id=start.sandbox_id, config=config, sandbox_config=start.sandbox_config
        )
        try:
            async with critical(record):
                container_id = (await self._cri.CreateContainer(request)).container_id
        except CriError as error:
            events.container(pod, container.name, WARNING, "Failed", f"Error: {error}")
            failure = StartFailure("CreateContainerError", str(error))
            raise StartError(failure, retry_after(error)) from error
        events.container(
            pod, container.name, NORMAL, "Created", f"Created container: {container.name}"
        )
        # 4
        try:
            async with critical(record):
                record.expected[container_id] = Expect.STARTED
                await self._cri.StartContainer(cri.StartContainerRequest(container_id=container_id))
        except CriError as error:
            record.expected.pop(container_id, None)
            events.container(pod, container.name, WARNING, "Failed", f"Error: {error}")
            failure = StartFailure("RunContainerError", str(error))
            raise StartError(failure, retry_after(error)) from error
        events.container(
            pod, container.name, NORMAL, "Started", f"Started container {container.name}"
        )
        self._link_log(pod, container, config.log_path, container_id)
        # 5
        if container.lifecycle.HasField("postStart"):
            await self._post_start(start, container, container_id)

    def _configure(
        self,
        start: "_Start",
        container: core.Container,
        attempt: int,
        image: cri.Image,
        target_id: str,
    ) -> cri.ContainerConfig:
        pod, files = start.record.pod, self._parts.files
        given = start.environment
        variables = environment(container, given)
        mounts = mounts_of(container, start.inputs.paths, variables, files)
        uid = pod.metadata.uid
        mounted = {m.container_path for m in mounts}
        managed = bool(pod.spec.hostAliases) if pod.spec.hostNetwork else bool(start.ips)
        if managed and _ETC_HOSTS not in mounted:
            path = files.write_etc_hosts(uid, self._hosts_text(pod, start.ips))
            mounts.append(cri.Mount(container_path=_ETC_HOSTS, host_path=path))
        if container.terminationMessagePath:
            path = files.make_termination_log(
                uid, container.name, f"{attempt}-{container_hash(container)}"
            )
            mounts.append(
                cri.Mount(container_path=container.terminationMessagePath, host_path=path)
            )
        files.make_container_log_dir(start.sandbox_config.log_directory, container.name)
        return container_config(
            pod,
            ContainerInput(container, attempt, image, variables, mounts, target_id),
            self.node,
        )

    def _hosts_text(self, pod: core.Pod, ips: list[str]) -> str:
        domain = self.node.dns.cluster_domain
        if pod.spec.hostNetwork:
            return self._parts.files.host_hosts() + host_alias_lines(pod)
        subdomain = pod.spec.subdomain
        full = f"{subdomain}.{pod.metadata.namespace}.svc.{domain}" if subdomain else ""
        return etc_hosts(pod, ips, hostname_of(pod, domain).partition(".")[0], full)

    def _link_log(
        self, pod: core.Pod, container: core.Container, log_path: str, container_id: str
    ) -> None:
        meta = pod.metadata
        link = container_log_link(
            self.node.container_logs_dir, meta.name, meta.namespace, container.name, container_id
        )
        if not link:
            return
        target = f"{pod_log_directory(self.node.pod_logs_dir, pod)}/{log_path}"
        try:
            self._parts.files.link_log(link, target)
        except OSError as error:
            log.warning("cannot link a log", extra={"link": link, "error": str(error)})

    async def _post_start(
        self, start: "_Start", container: core.Container, container_id: str
    ) -> None:
        pod = start.record.pod
        ip = start.ips[0] if start.ips else ""
        try:
            await self._parts.hooks.run(container.lifecycle.postStart, container, container_id, ip)
        except HookError as error:
            message = f"PostStartHook failed: {error}"
            self._parts.events.container(
                pod, container.name, WARNING, "FailedPostStartHook", message
            )
            await self._parts.killer.kill_container(
                start.record, start.status, container_id, "FailedPostStartHook", container.name
            )
            raise StartError(StartFailure("PostStartHookError", str(error)), RETRY_S) from error


@dataclass(slots=True)
class _Start:
    """One round of starting containers of one Pod."""

    manager: RuntimeManager
    record: PodRecord
    status: RuntimePodStatus
    inputs: PodInputs
    sandbox_id: str
    sandbox_config: cri.PodSandboxConfig
    ips: list[str]
    retry_after_s: float | None = None

    @property
    def environment(self) -> EnvironmentInput:
        given = self.inputs.environment
        return EnvironmentInput(
            pod=given.pod,
            pod_ips=tuple(self.ips),
            host_ips=given.host_ips,
            services=given.services,
            config_maps=given.config_maps,
            secrets=given.secrets,
            node_cpu=given.node_cpu,
            node_memory=given.node_memory,
        )

    def attempt_of(self, container: core.Container) -> int:
        """For a container that the runtime does not remember: the API's count goes on."""
        status = self.record.pod.status
        for old in (*status.containerStatuses, *status.initContainerStatuses):
            if old.name == container.name and (
                old.state.HasField("terminated") or old.state.HasField("running")
            ):
                return old.restartCount + 1
        return 0

    async def container(self, container: core.Container, target_id: str = "") -> bool:
        """Starts one, or notes why not."""
        parts = self.manager._parts
        try:
            self._check_back_off(parts, container)
            await self.manager.start_container(self, container, target_id)
        except StartError as error:
            self.record.failures[container.name] = error.failure
            self.record.uncertain = isinstance(error.__cause__, CriError)
            if error.retry_after_s is not None:
                self.retry_after_s = min(error.retry_after_s, self.retry_after_s or 1e9)
            return False
        self.record.failures.pop(container.name, None)
        return True

    def _check_back_off(self, parts: RuntimeParts, container: core.Container) -> None:
        latest = self.status.latest(container.name)
        if latest is None or latest.state != EXITED:
            return
        pod = self.record.pod
        meta = pod.metadata
        key = f"{meta.uid}_{container.name}_{container_hash(container)}"
        elapsed = max(0.0, parts.clock.now().timestamp() - latest.finished_at / 1e9)
        remaining = parts.backoff.remaining_since(key, elapsed)
        if remaining <= 0:
            parts.backoff.next(key, elapsed)
            return
        who = f"{meta.name}_{meta.namespace}({meta.uid})"
        parts.events.container(
            pod,
            container.name,
            WARNING,
            "BackOff",
            f"Back-off restarting failed container {container.name} in pod {who}",
        )
        delay = _go_duration(parts.backoff.get(key))
        message = f"back-off {delay} restarting failed container={container.name} pod={who}"
        raise StartError(StartFailure("CrashLoopBackOff", message), remaining)


def retry_after(error: BaseException | None) -> float:
    """Seconds until a container whose start failed is tried again."""
    gone = isinstance(error, CriError) and error.code == "UNAVAILABLE"
    return RETRY_RUNTIME_S if gone else RETRY_S


def _go_duration(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"


@asynccontextmanager
async def critical(record: PodRecord) -> AsyncIterator[None]:
    """What runs inside is not cut in the middle by an interruption, which is raised after."""
    record.critical += 1
    try:
        yield
    finally:
        record.critical -= 1
    if record.interrupted and not record.critical:
        raise Interrupted
