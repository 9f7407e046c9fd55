"""The fake engine: no root, no containers, the same states, logs, addresses and failures.

What a Pod shall do is declared by annotations, on the container or else on the sandbox (which
carries the Pod's). Times are seconds; `NAME.KEY` in place of KEY means container NAME only:

    fake.podpath.io/sandbox-delay      RunPodSandbox takes this long
    fake.podpath.io/fail-sandbox       RunPodSandbox fails with this message
    fake.podpath.io/create-delay       CreateContainer takes this long
    fake.podpath.io/fail-create        CreateContainer fails with this message
    fake.podpath.io/start-delay        StartContainer takes this long
    fake.podpath.io/fail-start         StartContainer fails with this message
    fake.podpath.io/exit-after         the container exits by itself this long after its start
    fake.podpath.io/exit-code          ... with this code (default 0)
    fake.podpath.io/exit-reason        ... and this reason, for example OOMKilled
    fake.podpath.io/stop-delay         it needs this long to react to its stop signal
    fake.podpath.io/log                lines that it writes when it starts
    fake.podpath.io/exec-stdout        what a command executed in it prints
    fake.podpath.io/exec-exit-code     ... and returns
    fake.podpath.io/exec-delay         ... after this long
    fake.podpath.io/fail-pull          PullImage fails with this message (sandbox only)

Its containers live in the shim's journal: a restarted shim knows them, and an exit that fell due
while it was dead is reported with the moment it fell due.
"""

import asyncio
import heapq
import ipaddress
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from podpath.component_base.clock import Clock
from podpath.component_base.streaming.process import ByteStream, Process
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backend import (
    BackendContext,
    ContainerCreated,
    ContainerExit,
    ExecResult,
    Listener,
    Recovered,
    RuntimeInfo,
    SandboxStarted,
)
from runtime_shim.backends.fake_exec import FakeProcess, answer
from runtime_shim.backends.fake_images import FakeImages
from runtime_shim.errors import Code, CriError, invalid, precondition
from runtime_shim.log_format import append_lines
from runtime_shim.state import RUNNING, ContainerRecord, SandboxRecord

PREFIX = "fake.podpath.io/"
DEFAULT_POD_CIDR = "10.88.0.0/16"
KILLED_EXIT_CODE = 137
TERMINATED_EXIT_CODE = 143
_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FakeBackend(FakeImages):
    """See the module's text. Cheap: a container without declared times costs no timer or task."""

    def __init__(
        self,
        clock: Clock,
        *,
        pod_cidr: str = DEFAULT_POD_CIDR,
        write_logs: bool = True,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(clock)
        self._clock = clock
        self._write_logs = write_logs
        self._new_id = new_id or (lambda: uuid.uuid4().hex + uuid.uuid4().hex)
        self._addresses = AddressPool(pod_cidr)
        self._declared: dict[str, Mapping[str, str]] = {}  # sandbox id → its annotations
        self._listener: Listener | None = None
        self._timers: list[tuple[float, int, str, ContainerExit]] = []
        self._timer_count = 0
        self._timer_set = asyncio.Event()

    # -- life --------------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        self._listener = listener

    async def recover(
        self, sandboxes: Sequence[SandboxRecord], containers: Sequence[ContainerRecord]
    ) -> Recovered:
        for sandbox in sandboxes:
            self._declared[sandbox.id] = sandbox.config.annotations
            if not sandbox.stopped_at:
                for ip in sandbox.ips:
                    self._addresses.take(ip)
        for container in containers:
            if container.state == RUNNING:
                self._schedule_exit(container.id, container, container.started_at)
        return Recovered()

    async def run(self) -> None:
        """Reports the exits that were declared, when they fall due."""
        while True:
            if not self._timers:
                self._timer_set.clear()
                await self._timer_set.wait()
            wait_s = self._timers[0][0] - self._clock.monotonic()
            if wait_s > 0:
                await self._sleep_until_due(wait_s)
                continue
            _, _, container_id, end = heapq.heappop(self._timers)
            self._tell(container_id, end)

    async def info(self) -> RuntimeInfo:
        return RuntimeInfo("podpath-fake", "1.0.0", supplemental_groups_policy=True)

    async def set_pod_cidr(self, cidr: str) -> None:
        self._addresses.move_to(cidr)

    # -- sandboxes ---------------------------------------------------------------------------------

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str) -> SandboxStarted:
        declared = config.annotations
        await self._stage(declared, "sandbox")
        options = config.linux.security_context.namespace_options
        ips = () if options.network == cri.NODE else (self._addresses.next(),)
        sandbox_id = self._new_id()
        self._declared[sandbox_id] = declared
        return SandboxStarted(sandbox_id, ips)

    async def stop_sandbox(self, sandbox: SandboxRecord) -> None:
        if not sandbox.stopped_at:
            for ip in sandbox.ips:
                self._addresses.give_back(ip)

    async def remove_sandbox(self, sandbox: SandboxRecord) -> None:
        self._declared.pop(sandbox.id, None)

    # -- containers --------------------------------------------------------------------------------

    async def create_container(
        self, sandbox: SandboxRecord, config: cri.ContainerConfig, image: cri.Image, log_path: str
    ) -> ContainerCreated:
        await self._stage(self._of(sandbox.id, config), "create")
        return ContainerCreated(self._new_id())

    async def start_container(self, sandbox: SandboxRecord, container: ContainerRecord) -> int:
        declared = self._of(sandbox.id, container.config)
        await self._stage(declared, "start")
        started_at = self._now_ns()
        if self._write_logs and container.log_path:
            name = container.config.metadata.name
            text = declared("log") or f"{name} runs on podpath's fake runtime"
            self._log(container.log_path, started_at, text)
        self._schedule_exit(container.id, container, started_at)
        return started_at

    async def stop_container(self, container: ContainerRecord, grace_s: float) -> None:
        if container.finished_at:
            return
        needs_s = _seconds(self._of(container.sandbox_id, container.config), "stop-delay")
        code = TERMINATED_EXIT_CODE if needs_s <= grace_s and grace_s > 0 else KILLED_EXIT_CODE
        wait_s = min(needs_s, grace_s)
        if wait_s > 0:
            await self._first_of_exit_and(container, wait_s)
        self._tell(container.id, ContainerExit(self._now_ns(), code))

    async def remove_container(self, container: ContainerRecord) -> None:
        pass

    async def exec_sync(
        self, container: ContainerRecord, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        declared = self._of(container.sandbox_id, container.config)
        delay_s = _seconds(declared, "exec-delay")
        if timeout_s and delay_s > timeout_s:
            await self._clock.sleep(timeout_s)
            raise CriError(Code.DEADLINE_EXCEEDED, f"{command[0]!r} ran over {timeout_s:g} s")
        if delay_s:
            await self._clock.sleep(delay_s)
        return answer(command, declared("exec-stdout"), declared("exec-exit-code"))

    async def exec(
        self, container: ContainerRecord, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Process:
        declared = self._of(container.sandbox_id, container.config)
        return FakeProcess(command, declared("exec-stdout"), declared("exec-exit-code"), stdin)

    async def attach(self, container: ContainerRecord, *, stdin: bool) -> Process:
        return FakeProcess(("cat",), "", "", stdin)

    async def port_forward(self, sandbox: SandboxRecord, port: int) -> ByteStream:
        raise precondition(f"port {port}: nothing listens in a sandbox of the fake runtime")

    async def reopen_log(self, container: ContainerRecord) -> None:
        if self._write_logs:
            self._log(container.log_path, self._now_ns(), "")  # an empty file

    async def update_resources(
        self, container: ContainerRecord, resources: cri.LinuxContainerResources
    ) -> None:
        pass

    # -- figures -----------------------------------------------------------------------------------

    async def container_stats(self, container: ContainerRecord) -> cri.ContainerStats:
        stats = cri.ContainerStats()
        _fill_usage(stats.cpu, stats.memory, self._now_ns(), container.started_at)
        stats.writable_layer.timestamp = stats.cpu.timestamp
        stats.writable_layer.used_bytes.value = 4096
        return stats

    async def sandbox_stats(self, sandbox: SandboxRecord) -> cri.LinuxPodSandboxStats:
        stats = cri.LinuxPodSandboxStats()
        _fill_usage(stats.cpu, stats.memory, self._now_ns(), sandbox.created_at)
        stats.process.timestamp = stats.cpu.timestamp
        stats.process.process_count.value = 1
        stats.network.timestamp = stats.cpu.timestamp
        stats.network.default_interface.name = "eth0"
        return stats

    # -- below -------------------------------------------------------------------------------------

    def _of(self, sandbox_id: str, config: cri.ContainerConfig) -> Callable[[str], str]:
        """What is declared for one container: its own annotations, then its Pod's."""
        name = config.metadata.name
        own, pod = config.annotations, self._declared.get(sandbox_id, {})

        def declared(key: str) -> str:
            return (
                own.get(PREFIX + key) or pod.get(f"{PREFIX}{name}.{key}") or pod.get(PREFIX + key)
            ) or ""

        return declared

    async def _stage(self, declared: Callable[[str], str] | Mapping[str, str], stage: str) -> None:
        if not callable(declared):
            annotations = declared

            def declared(key: str) -> str:
                return annotations.get(PREFIX + key, "")

        if delay_s := _seconds(declared, f"{stage}-delay"):
            await self._clock.sleep(delay_s)
        if failure := declared(f"fail-{stage}"):
            raise CriError(Code.UNKNOWN, failure)

    def _schedule_exit(
        self, container_id: str, container: ContainerRecord, started_at: int
    ) -> None:
        declared = self._of(container.sandbox_id, container.config)
        if not declared("exit-after"):
            return
        finished_at = started_at + int(_seconds(declared, "exit-after") * _NS)
        try:
            code = int(declared("exit-code") or 0)
        except ValueError:
            raise invalid(f"{PREFIX}exit-code: {declared('exit-code')!r}: not a number") from None
        end = ContainerExit(finished_at, code, declared("exit-reason"))
        due = self._clock.monotonic() + max(0, finished_at - self._now_ns()) / _NS
        self._timer_count += 1
        heapq.heappush(self._timers, (due, self._timer_count, container_id, end))
        self._timer_set.set()

    async def _sleep_until_due(self, wait_s: float) -> None:
        """Until the first timer is due or an earlier one was set."""
        self._timer_set.clear()
        sleep = asyncio.ensure_future(self._clock.sleep(wait_s))
        earlier = asyncio.ensure_future(self._timer_set.wait())
        try:
            await asyncio.wait((sleep, earlier), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            earlier.cancel()

    async def _first_of_exit_and(self, container: ContainerRecord, wait_s: float) -> None:
        sleep = asyncio.ensure_future(self._clock.sleep(wait_s))
        exited = asyncio.ensure_future(container.exited.wait())
        try:
            await asyncio.wait((sleep, exited), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            exited.cancel()

    def _tell(self, container_id: str, end: ContainerExit) -> None:
        assert self._listener is not None, "start() comes first"
        self._listener.container_exited(container_id, end)

    def _log(self, path: str, at: int, text: str) -> None:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            append_lines(path, at, "stdout", text)
        except OSError as error:
            raise CriError(Code.INTERNAL, f"log {path}: {error.strerror}") from error

    def _now_ns(self) -> int:
        since = self._clock.now() - _EPOCH
        return (since.days * 86_400 + since.seconds) * _NS + since.microseconds * 1000


class AddressPool:
    """Addresses of Pods: the next one that is free, round and round through the range.

    The network's own address and its first one (the bridge's) are never given out.
    """

    def __init__(self, cidr: str) -> None:
        self._used: set[str] = set()
        self.move_to(cidr)

    def move_to(self, cidr: str) -> None:
        """Raises: CriError INVALID_ARGUMENT."""
        try:
            self._network = ipaddress.ip_network(cidr, strict=False)
        except ValueError as error:
            raise invalid(f"pod CIDR {cidr!r}: {error}") from None
        self._size = self._network.num_addresses - 3  # network, bridge, broadcast
        self._cursor = 0

    def next(self) -> str:
        """Raises: CriError RESOURCE_EXHAUSTED."""
        for _ in range(self._size):
            ip = str(self._network[2 + self._cursor])
            self._cursor = (self._cursor + 1) % self._size
            if ip not in self._used:
                self._used.add(ip)
                return ip
        raise CriError(Code.RESOURCE_EXHAUSTED, f"no free address in {self._network}")

    def take(self, ip: str) -> None:
        self._used.add(ip)

    def give_back(self, ip: str) -> None:
        self._used.discard(ip)


def _seconds(declared: Callable[[str], str], key: str) -> float:
    text = declared(key)
    try:
        return max(0.0, float(text)) if text else 0.0
    except ValueError:
        raise invalid(f"{PREFIX}{key}: {text!r} is not a number of seconds") from None


def _fill_usage(cpu: cri.CpuUsage, memory: cri.MemoryUsage, now: int, since: int) -> None:
    """One millicore and 1 MiB: enough to tell the fake from nothing."""
    cpu.timestamp = memory.timestamp = now
    cpu.usage_core_nano_seconds.value = max(0, now - since) // 1000
    cpu.usage_nano_cores.value = 1_000_000
    memory.working_set_bytes.value = memory.usage_bytes.value = memory.rss_bytes.value = 1 << 20


def create(context: BackendContext) -> FakeBackend:
    """The entry point `fake`."""
    return FakeBackend(context.clock, pod_cidr=context.options.get("pod_cidr") or DEFAULT_POD_CIDR)
