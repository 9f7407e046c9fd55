"""Real containers: nerdctl makes, starts and removes them; the kernel tells when they end.

create   nerdctl create, and the changes to its OCI spec written down beside its FIFOs
start    nerdctl start → containerd → the launcher (oci_runtime.py) → runc
exit     see nerdctl_exits.py            stop     signals through the pidfd
exec     runc, see runc_exec.py          streams  the log daemon, see log_daemon.py
sandbox  see nerdctl_sandboxes.py        figures  cgroup files, see nerdctl_stats.py
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from podpath.component_base import binaries
from podpath.component_base.streaming.process import ByteStream, Process
from podpath.component_base.streaming.spdy import TcpStream
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim import cgroups, command, leftovers, namespaces, node_facts, stop_signal
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
from runtime_shim.backends import (
    nerdctl_argv,
    nerdctl_sandboxes,
    nerdctl_spec,
    nerdctl_stats,
    runc_exec,
)
from runtime_shim.backends.nerdctl_containers import EngineContainers
from runtime_shim.backends.nerdctl_creation import Planner
from runtime_shim.backends.nerdctl_exits import UNKNOWN_EXIT_CODE, Exits, exit_of, time_ns
from runtime_shim.backends.nerdctl_images import NerdctlImages, data_root_of
from runtime_shim.errors import Code, CriError, precondition
from runtime_shim.log_client import LogClient, LoggedContainer
from runtime_shim.network import PodNetwork
from runtime_shim.state import EXITED, RUNNING, ContainerRecord, SandboxRecord
from runtime_shim.turns import Turns
from runtime_shim.unhonoured import Warnings

_log = logging.getLogger(__name__)

KILL_TIMEOUT_S = 15.0
PORT_FORWARD_TIMEOUT_S = 10.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NerdctlBackend(NerdctlImages):
    """See the module's text."""

    def __init__(self, context: BackendContext) -> None:
        assert context.state_dir is not None, "the nerdctl backend needs a state directory"
        options = context.options
        state_dir = context.state_dir.resolve()
        self._state_dir = state_dir
        self._clock = context.clock
        self._runc = binaries.find("runc")
        self._settings = nerdctl_argv.NerdctlSettings(
            program=binaries.find("nerdctl"),
            address=options["containerd_address"],
            namespace=options["containerd_namespace"],
            data_root=data_root_of(options["data_root"], state_dir),
            cni_path=options["cni_path"],
            cni_config=str(state_dir / "cni"),
            hosts_dir=options.get("registry_hosts_dir") or "/etc/containerd/certs.d",
            launcher=str(state_dir / "runc-launcher"),
        )
        super().__init__(
            self._settings, self._clock, float(options["image_pull_timeout_s"]), self._now_ns
        )
        self._sandbox_image = options["sandbox_image"]
        turns = Turns(int(options["programs_at_once"]) or (os.cpu_count() or 1) + 1)
        self._network = PodNetwork(state_dir, options["cni_path"], options["bridge"], turns)
        self._network.inside = options.get("non_masquerade_cidr", "")
        if options["pod_cidr"]:
            self._network.set_cidr(options["pod_cidr"])
        self._sandboxes = nerdctl_sandboxes.SandboxDirectories(state_dir, self._network)
        self._containers = EngineContainers(
            self._settings, state_dir / "containers", self._runc, turns
        )
        self._facts: node_facts.NodeFacts  # read by `start`
        self._logged: dict[str, LoggedContainer] = {}
        self._logs = LogClient(state_dir, lambda: list(self._logged.values()))
        self._exits = Exits(
            self._clock, self._now_ns, self._containers.inspect, self._drain, self._tell
        )
        self._planner = Planner(self._sandboxes, self._exits, self._settings.namespace)
        self._listener: Listener | None = None
        self._version = ""
        self._warnings = Warnings()

    # -- life --------------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        for directory in (self._state_dir / "cni", Path(self._settings.data_root)):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._containers.begin()
        self._sandboxes.begin()
        self._facts = node_facts.read(json.loads(await command.must([self._runc, "features"])))
        told = json.loads(await command.must(nerdctl_argv.version(self._settings)))
        self._version = told["Client"]["Version"]

    async def recover(
        self, sandboxes: Sequence[SandboxRecord], containers: Sequence[ContainerRecord]
    ) -> Recovered:
        """1. Let the last shim's programs end. 2. Remove what no record names. 3. Compare the rest
        of what the engine holds."""
        await leftovers.wait_for(self._marks(), self._clock)  # 1
        leftovers.kill_execs(frozenset(c.id for c in containers))
        pauses = {s.engine["pause"]: s for s in sandboxes if s.engine.get("pause")}
        known = {c.id for c in containers} | pauses.keys()
        held = await self._containers.remove_all_but(known)  # 2
        await self._sandboxes.unmake_all_but(s.id for s in sandboxes)
        started: dict[str, int] = {}  # 3
        exits: dict[str, ContainerExit] = {}
        for container in containers:
            state = held.get(container.id)
            status = state["Status"] if state else "absent"
            self._logged[container.id] = self._logged_of(container)
            if state and status == "running":
                # nerdctl writes the moment down itself, and may have been cut off before.
                started[container.id] = time_ns(state["StartedAt"]) or self._now_ns()
                container.engine["pid"] = str(state["Pid"])
                with contextlib.suppress(CriError):
                    self._note_user(container)
                self._watch(container, state["Pid"])
            elif container.state != EXITED and status != "created":
                exits[container.id] = exit_of(state, self._now_ns())
            elif container.state == RUNNING:
                exits[container.id] = ContainerExit(self._now_ns(), UNKNOWN_EXIT_CODE, "Unknown")
        mounted = self._sandboxes.mounted()
        stopped = {s.id for s in sandboxes if not self._sandboxes.alive(s, mounted)}
        for pause, sandbox in pauses.items():
            state = held.get(pause)
            if state and state["Status"] == "running":
                self._logged[pause] = self._silent(pause)
                self._exits.watch(pause, state["Pid"], "", "")
            else:
                stopped.add(sandbox.id)
                if state is None:  # the last shim died while it removed it
                    self._containers.remove_directory(pause)
        for sandbox_id in stopped:
            await self._sandboxes.disconnect(sandbox_id)
        return Recovered(started, exits, stopped_sandboxes=frozenset(stopped))

    async def run(self) -> None:
        """The log daemon is kept alive; exits are told."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._logs.keep(), name="log-daemon")
                tasks.create_task(self._exits.run(), name="exits")
        finally:
            self._logs.close()

    async def remove_node(self) -> None:
        """Removes the node's bridge, rules, cgroup and log daemon (teardown.NodeRemover)."""
        await self._logs.stop()
        await self._network.remove()
        cgroups.remove_empty(self._planner.own_cgroup)

    async def info(self) -> RuntimeInfo:
        problem = ""
        if not os.path.exists(self._settings.address):
            problem = f"containerd's socket {self._settings.address} does not exist"
        return RuntimeInfo(
            name="podpath-nerdctl",
            version=self._version,
            runtime_problem=problem,
            network_problem=self._network.problem(),
            supplemental_groups_policy=True,
            recursive_read_only_mounts=self._facts.recursive_read_only,
        )

    async def set_pod_cidr(self, cidr: str) -> None:
        self._network.set_cidr(cidr)

    # -- sandboxes ---------------------------------------------------------------------------------

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str) -> SandboxStarted:
        nerdctl_sandboxes.refuse(config, self._facts)
        self._warnings.ignored(nerdctl_sandboxes.ignored(config))
        sandbox_id = self._sandboxes.new_id()
        ips = await self._sandboxes.make(sandbox_id, config)
        engine: dict[str, str] = {}
        if config.linux.security_context.namespace_options.pid == cri.POD:
            try:
                engine["pause"] = await self._start_pause(sandbox_id, config)
            except BaseException:
                await asyncio.shield(self._sandboxes.unmake(sandbox_id))
                raise
        return SandboxStarted(sandbox_id, ips, engine)

    async def stop_sandbox(self, sandbox: SandboxRecord) -> None:
        if pause := sandbox.engine.get("pause"):
            await self._remove(pause)
        await self._sandboxes.disconnect(sandbox.id)

    async def remove_sandbox(self, sandbox: SandboxRecord) -> None:
        await self._sandboxes.unmake(sandbox.id)
        nerdctl_sandboxes.remove_cgroup(sandbox)

    async def _start_pause(self, sandbox_id: str, config: cri.PodSandboxConfig) -> str:
        known = await self.find(self._sandbox_image)
        if known is None:
            raise precondition(
                f"sandbox image {self._sandbox_image!r} is not loaded; it holds the Pod's PID "
                "namespace"
            )
        plan = self._planner.pause(sandbox_id, config, known.names[0], known.config)
        pause_id = await self._containers.create(plan.creation, plan.edits)
        try:
            await self._start(self._silent(pause_id))
            self._exits.watch(pause_id, self._containers.pid(pause_id), "", "")
        except BaseException:
            await asyncio.shield(self._remove(pause_id))
            raise
        return pause_id

    # -- containers --------------------------------------------------------------------------------

    async def create_container(
        self, sandbox: SandboxRecord, config: cri.ContainerConfig, image: cri.Image, log_path: str
    ) -> ContainerCreated:
        known = await self.find(image.id)
        if known is None:
            raise CriError(Code.NOT_FOUND, f"image {image.id!r} was removed meanwhile")
        plan = self._planner.container(sandbox, config, known.names[0], known.config, self._facts)
        self._warnings.ignored(nerdctl_spec.ignored(config, self._facts))
        new_id = await self._containers.create(plan.creation, plan.edits)
        images_signal = known.config.get("StopSignal") or ""
        return ContainerCreated(
            new_id, {"cgroup": plan.cgroup(new_id), "stop_signal": images_signal}
        )

    async def start_container(self, sandbox: SandboxRecord, container: ContainerRecord) -> int:
        await self._start(self._logged_of(container))
        started_at = self._now_ns()
        self._note_user(container)
        pid = self._containers.pid(container.id)
        container.engine["pid"] = str(pid)
        self._watch(container, pid)
        return started_at

    async def stop_container(self, container: ContainerRecord, grace_s: float) -> None:
        running = self._exits.running(container.id)
        if running is None and not self._exits.about_to_tell(container.id):
            if not container.finished_at:
                self._tell(container.id, ContainerExit(self._now_ns(), UNKNOWN_EXIT_CODE))
            return
        if running is not None and grace_s > 0:
            own = container.engine.get("stop_signal", "")
            running.send(stop_signal.of(container.config, own))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await container.exited.wait()
                    return
        if running is not None:
            running.kill()
        try:
            async with asyncio.timeout(KILL_TIMEOUT_S):
                await container.exited.wait()
        except TimeoutError:
            raise CriError(
                Code.DEADLINE_EXCEEDED, f"container {container.id!r} does not die"
            ) from None

    async def remove_container(self, container: ContainerRecord) -> None:
        await self._remove(container.id)

    async def exec_sync(
        self, container: ContainerRecord, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        return await runc_exec.exec_sync(self._target(container), command, timeout_s)

    async def exec(
        self, container: ContainerRecord, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Process:
        return await runc_exec.start(self._target(container), command, tty=tty, stdin=stdin)

    async def attach(self, container: ContainerRecord, *, stdin: bool) -> Process:
        return await self._logs.attach(self._logged_of(container))

    async def port_forward(self, sandbox: SandboxRecord, port: int) -> ByteStream:
        path = self._sandboxes.paths(sandbox.id, sandbox.config, "").network
        try:
            connected = await asyncio.to_thread(
                namespaces.connect_in, path, port, PORT_FORWARD_TIMEOUT_S
            )
        except OSError as error:
            raise CriError(Code.UNAVAILABLE, error.strerror or str(error)) from error
        connected.setblocking(False)
        return TcpStream(*await asyncio.open_connection(sock=connected))

    async def reopen_log(self, container: ContainerRecord) -> None:
        await self._logs.reopen(container.id)

    async def update_resources(
        self, container: ContainerRecord, resources: cri.LinuxContainerResources
    ) -> None:
        wanted = nerdctl_spec.resources(resources, self._facts)
        running = container.state == RUNNING
        self._warnings.ignored(
            nerdctl_spec.ignored_resources(resources, self._facts, running=running)
        )
        if running:
            target = self._target(container)
            await command.must(
                [self._runc, f"--root={target.root}", "update", "--resources=-", container.id],
                stdin=json.dumps(wanted).encode(),
            )
        else:
            self._containers.update_edits(container.id, wanted)

    async def container_stats(self, container: ContainerRecord) -> cri.ContainerStats:
        running = self._exits.running(container.id)
        pid = running.pid if running else 0
        return nerdctl_stats.of_container(container.engine.get("cgroup", ""), pid, self._now_ns())

    async def sandbox_stats(self, sandbox: SandboxRecord) -> cri.LinuxPodSandboxStats:
        members = list(self._exits.in_sandbox(sandbox.id))
        return nerdctl_stats.of_sandbox(
            sandbox.config.linux.cgroup_parent,
            [r.cgroup for r in members],
            members[0].pid if members else 0,
            self._now_ns(),
        )

    # -- below -------------------------------------------------------------------------------------

    async def _start(self, logged: LoggedContainer) -> None:
        """The log daemon knows a container before its launcher asks."""
        await self._logs.add(logged)
        self._logged[logged.id] = logged
        await self._containers.start(logged.id)

    async def _remove(self, container_id: str) -> None:
        self._logged.pop(container_id, None)
        await self._containers.remove(container_id)
        with contextlib.suppress(CriError):
            await self._logs.drop(container_id)

    def _watch(self, container: ContainerRecord, pid: int) -> None:
        cgroup = container.engine.get("cgroup", "")
        self._exits.watch(container.id, pid, cgroup, container.sandbox_id)

    async def _drain(self, container_id: str) -> None:
        if container_id in self._logged:
            await self._logs.drain(container_id)

    def _tell(self, container_id: str, end: ContainerExit) -> None:
        assert self._listener is not None, "start() comes first"
        self._listener.container_exited(container_id, end)

    def _marks(self) -> tuple[bytes, ...]:
        """How to tell the programs that this state directory's shim starts."""
        return (
            f"--data-root={self._settings.data_root}".encode(),
            f"CNI_NETNS={self._state_dir}/".encode(),
        )

    def _logged_of(self, record: ContainerRecord) -> LoggedContainer:
        config = record.config
        return LoggedContainer(
            id=record.id,
            directory=self._containers.directory(record.id),
            log_path=record.log_path,
            tty=config.tty,
            stdin=config.stdin,
            stdin_once=config.stdin_once,
        )

    def _silent(self, pause_id: str) -> LoggedContainer:
        return LoggedContainer(pause_id, self._containers.directory(pause_id))

    def _note_user(self, container: ContainerRecord) -> None:
        notes = self._containers.notes(container.id)
        groups = ",".join(str(gid) for gid in notes["groups"])
        container.engine["user"] = f"{notes['uid']}:{notes['gid']}:{groups}"

    def _target(self, container: ContainerRecord) -> runc_exec.ExecTarget:
        root = self._containers.notes(container.id)["root"]
        return runc_exec.ExecTarget(self._runc, root, container.id)

    def _now_ns(self) -> int:
        since = self._clock.now() - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def create(context: BackendContext) -> NerdctlBackend:
    """The entry point `nerdctl`."""
    return NerdctlBackend(context)
