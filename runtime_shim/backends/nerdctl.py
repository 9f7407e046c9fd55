"""Real containers: nerdctl makes, starts and removes them; the kernel tells when they end.

create   nerdctl create, and the changes to its OCI spec written down beside its FIFOs
start    nerdctl start → containerd → the launcher (oci_runtime.py) → runc
exit     a pidfd of the container's first process; then one `nerdctl inspect` for the exit code
stop     signals through the pidfd
exec     runc, see runc_exec.py          streams  the log daemon, see log_daemon.py
sandbox  see nerdctl_sandboxes.py        figures  cgroup files, see nerdctl_stats.py
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podpath.component_base import binaries
from podpath.component_base.streaming.process import ByteStream, Process
from podpath.component_base.streaming.spdy import TcpStream
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim import cgroups, command, leftovers, namespaces, node_facts
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
    oci_runtime,
    runc_exec,
)
from runtime_shim.backends.nerdctl_images import NerdctlImages, data_root_of
from runtime_shim.errors import Code, CriError, precondition
from runtime_shim.log_client import LogClient, LoggedContainer
from runtime_shim.network import PodNetwork
from runtime_shim.state import EXITED, RUNNING, ContainerRecord, SandboxRecord

_log = logging.getLogger(__name__)

KILLED_EXIT_CODE = 137
UNKNOWN_EXIT_CODE = 255
"""Of a container whose end nobody saw. As in containerd's CRI."""
KILL_TIMEOUT_S = 15.0
PORT_FORWARD_TIMEOUT_S = 10.0
EXIT_POLL_S = 0.05
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Running:
    """A process that is watched. `sandbox_id` is empty for a pause container."""

    pid: int
    pidfd: int
    cgroup: str
    sandbox_id: str


class NerdctlBackend(NerdctlImages):
    """See the module's text."""

    def __init__(self, context: BackendContext) -> None:
        assert context.state_dir is not None, "the nerdctl backend needs a state directory"
        options = context.options
        state_dir = context.state_dir.resolve()
        self._state_dir = state_dir
        self._containers_dir = state_dir / "containers"
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
        self._network = PodNetwork(state_dir, options["cni_path"], options["bridge"])
        self._network.inside = options.get("non_masquerade_cidr", "")
        if options["pod_cidr"]:
            self._network.set_cidr(options["pod_cidr"])
        self._sandboxes = nerdctl_sandboxes.SandboxDirectories(state_dir, self._network)
        self._facts = node_facts.read()
        self._running: dict[str, Running] = {}
        self._logged: dict[str, LoggedContainer] = {}
        self._ended: dict[str, bool] = {}  # id → out of memory; exits that are to be told
        self._ended_set = asyncio.Event()
        self._logs = LogClient(state_dir, lambda: list(self._logged.values()))
        self._listener: Listener | None = None
        self._version = ""

    # -- life --------------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        for directory in (self._containers_dir, self._state_dir / "cni"):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sandboxes.begin()
        launcher = Path(self._settings.launcher)
        launcher.write_text(
            oci_runtime.LAUNCHER.format(
                python=sys.executable,
                program=oci_runtime.__file__,
                runc=self._runc,
                directory=self._containers_dir,
            )
        )
        launcher.chmod(0o755)
        told = json.loads(await command.must(nerdctl_argv.version(self._settings)))
        self._version = told["Client"]["Version"]

    async def recover(
        self, sandboxes: Sequence[SandboxRecord], containers: Sequence[ContainerRecord]
    ) -> Recovered:
        """1. Let the last shim's programs end. 2. What does the engine hold? 3. Remove what no
        record names. 4. Compare the rest."""
        await leftovers.wait_for(self._marks(), self._clock)  # 1
        leftovers.kill_execs(frozenset(c.id for c in containers))
        held = {entry["Id"]: entry["State"] for entry in await self._inspect_all()}  # 2
        pauses = {s.engine["pause"]: s for s in sandboxes if s.engine.get("pause")}
        known = {c.id for c in containers} | pauses.keys()
        if orphans := sorted(held.keys() - known):  # 3
            _log.info("removing orphans", extra={"containers": len(orphans)})
            await command.run(nerdctl_argv.remove(self._settings, orphans))
        kept = {c.id for c in containers} | (pauses.keys() & held.keys())
        for name in set(os.listdir(self._containers_dir)) - kept:
            shutil.rmtree(self._containers_dir / name, ignore_errors=True)
        await self._sandboxes.unmake_all_but(s.id for s in sandboxes)
        started: dict[str, int] = {}  # 4
        exits: dict[str, ContainerExit] = {}
        for container in containers:
            state = held.get(container.id, {"Status": "absent"})
            if state["Status"] == "running":
                # nerdctl writes the moment down itself, and may have been cut off before.
                started[container.id] = _time_ns(state["StartedAt"]) or self._now_ns()
                self._logged[container.id] = self._logged_of(container.id, container)
                container.engine["pid"] = str(state["Pid"])
                with contextlib.suppress(CriError):
                    self._note_user(container)
                self._watch(container.id, state["Pid"], container.engine, container.sandbox_id)
            elif container.state != EXITED and state["Status"] != "created":
                exits[container.id] = _exit_of(state, self._now_ns(), out_of_memory=False)
            elif container.state == RUNNING:
                exits[container.id] = ContainerExit(self._now_ns(), UNKNOWN_EXIT_CODE, "Unknown")
            else:
                self._logged[container.id] = self._logged_of(container.id, container)
        mounted = self._sandboxes.mounted()
        stopped = {s.id for s in sandboxes if not self._sandboxes.alive(s, mounted)}
        for pause, sandbox in pauses.items():
            if held.get(pause, {}).get("Status") == "running":
                self._watch(pause, held[pause]["Pid"], {}, "")
            else:
                stopped.add(sandbox.id)
        for sandbox_id in stopped:
            await self._sandboxes.disconnect(sandbox_id)
        return Recovered(started, exits, stopped_sandboxes=frozenset(stopped))

    async def run(self) -> None:
        """The log daemon is kept alive; exits are told."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._logs.keep(), name="log-daemon")
                tasks.create_task(self._tell_exits(), name="exits")
        finally:
            self._logs.close()

    async def remove_node(self) -> None:
        """Removes the node's bridge and its rules (teardown.NodeRemover)."""
        await self._network.remove()

    async def info(self) -> RuntimeInfo:
        problem = ""
        if not os.path.exists(self._settings.address):
            problem = f"containerd's socket {self._settings.address} does not exist"
        return RuntimeInfo(
            name="podpath-nerdctl",
            version=self._version,
            runtime_problem=problem,
            network_problem=self._network.problem(),
        )

    async def set_pod_cidr(self, cidr: str) -> None:
        self._network.set_cidr(cidr)

    # -- sandboxes ---------------------------------------------------------------------------------

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str) -> SandboxStarted:
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
            await self._remove_engine_container(pause)
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
        creation = nerdctl_argv.Creation(
            name=f"k8s_POD_{sandbox_id[:40]}",
            labels=nerdctl_argv.labels(sandbox_id, nerdctl_argv.ROLE_PAUSE, config.labels),
            image=known.names[0],
            arguments=nerdctl_spec.arguments(cri.ContainerConfig(), known.config),
        )
        paths = self._sandboxes.paths(sandbox_id, config, "")
        pause_id = await self._create(
            creation,
            lambda new_id: nerdctl_spec.pause_edits(
                paths, self._cgroup(config.linux.cgroup_parent, new_id)
            ),
        )
        try:
            await command.must(nerdctl_argv.start(self._settings, pause_id))
            self._watch(pause_id, self._pid_of(pause_id), {}, "")
        except BaseException:
            await asyncio.shield(self._remove_engine_container(pause_id))
            raise
        return pause_id

    # -- containers --------------------------------------------------------------------------------

    async def create_container(
        self, sandbox: SandboxRecord, config: cri.ContainerConfig, image: cri.Image, log_path: str
    ) -> ContainerCreated:
        known = await self.find(image.id)
        if known is None:
            raise CriError(Code.NOT_FOUND, f"image {image.id!r} was removed meanwhile")
        context = config.linux.security_context
        added = context.capabilities.add_capabilities
        creation = nerdctl_argv.Creation(
            name=nerdctl_argv.container_name(sandbox.id, sandbox.config, config),
            labels=nerdctl_argv.labels(sandbox.id, nerdctl_argv.ROLE_CONTAINER, config.labels),
            image=known.names[0],
            arguments=nerdctl_spec.arguments(config, known.config),
            user=nerdctl_spec.user(context),
            working_dir=config.working_dir,
            hostname=sandbox.config.hostname,
            added_capabilities=[c for c in added if c.upper() != "ALL"],
        )
        prepared = self._prepare_mounts(config)
        cgroup = ""

        def edits(new_id: str) -> oci_runtime.Spec:
            nonlocal cgroup
            cgroup = self._cgroup(sandbox.config.linux.cgroup_parent, new_id)
            return nerdctl_spec.edits(self._spec_request(sandbox, prepared, cgroup))

        edits("0" * 64)  # refuses before anything is made
        new_id = await self._create(creation, edits)
        stop_signal = known.config.get("StopSignal") or ""
        return ContainerCreated(new_id, {"cgroup": cgroup, "stop_signal": stop_signal})

    async def start_container(self, sandbox: SandboxRecord, container: ContainerRecord) -> int:
        logged = self._logged_of(container.id, container)
        await self._logs.add(logged)
        self._logged[container.id] = logged
        finished = await command.run(nerdctl_argv.start(self._settings, container.id))
        if finished.code != 0:
            raise CriError(Code.UNKNOWN, f"failed to start container: {finished.complaint()}")
        started_at = self._now_ns()
        self._note_user(container)
        pid = self._pid_of(container.id)
        container.engine["pid"] = str(pid)
        self._watch(container.id, pid, container.engine, container.sandbox_id)
        return started_at

    async def stop_container(self, container: ContainerRecord, grace_s: float) -> None:
        running = self._running.get(container.id)
        if running is None and container.id not in self._ended:
            if not container.finished_at:
                self._tell(container.id, ContainerExit(self._now_ns(), UNKNOWN_EXIT_CODE))
            return
        if running is not None and grace_s > 0:
            _send(running.pidfd, _stop_signal(container))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await container.exited.wait()
                    return
        if running is not None:
            _send(running.pidfd, signal.SIGKILL)
            for pid in cgroups.processes(running.cgroup) if running.cgroup else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        try:
            async with asyncio.timeout(KILL_TIMEOUT_S):
                await container.exited.wait()
        except TimeoutError:
            raise CriError(
                Code.DEADLINE_EXCEEDED, f"container {container.id!r} does not die"
            ) from None

    async def remove_container(self, container: ContainerRecord) -> None:
        self._logged.pop(container.id, None)
        await self._remove_engine_container(container.id)

    async def exec_sync(
        self, container: ContainerRecord, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        return await runc_exec.exec_sync(self._target(container), command, timeout_s)

    async def exec(
        self, container: ContainerRecord, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Process:
        return await runc_exec.start(self._target(container), command, tty=tty, stdin=stdin)

    async def attach(self, container: ContainerRecord, *, stdin: bool) -> Process:
        return await self._logs.attach(self._logged_of(container.id, container))

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
        if container.state == RUNNING:
            target = self._target(container)
            await command.must(
                [self._runc, f"--root={target.root}", "update", "--resources=-", container.id],
                stdin=json.dumps(wanted).encode(),
            )
            return
        path = self._containers_dir / container.id / oci_runtime.EDITS
        edits = json.loads(path.read_text())
        for part, values in wanted.items():
            edits["resources"].setdefault(part, {}).update(values)
        path.write_text(json.dumps(edits))

    async def container_stats(self, container: ContainerRecord) -> cri.ContainerStats:
        running = self._running.get(container.id)
        pid = running.pid if running else 0
        return nerdctl_stats.of_container(container.engine.get("cgroup", ""), pid, self._now_ns())

    async def sandbox_stats(self, sandbox: SandboxRecord) -> cri.LinuxPodSandboxStats:
        members = [r for r in self._running.values() if r.sandbox_id == sandbox.id]
        return nerdctl_stats.of_sandbox(
            sandbox.config.linux.cgroup_parent,
            [r.cgroup for r in members],
            members[0].pid if members else 0,
            self._now_ns(),
        )

    # -- exits -------------------------------------------------------------------------------------

    def _watch(self, container_id: str, pid: int, engine: dict[str, str], sandbox_id: str) -> None:
        """Exits are noticed by the kernel's word, at once and without a process of ours."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended[container_id] = cgroups.oom_killed(engine.get("cgroup", ""))
            self._ended_set.set()
            return
        cgroup = engine.get("cgroup", "")
        self._running[container_id] = Running(pid, pidfd, cgroup, sandbox_id)
        asyncio.get_running_loop().add_reader(pidfd, self._process_ended, container_id)

    def _process_ended(self, container_id: str) -> None:
        running = self._running.pop(container_id)
        asyncio.get_running_loop().remove_reader(running.pidfd)
        os.close(running.pidfd)
        out_of_memory = bool(running.cgroup) and cgroups.oom_killed(running.cgroup)
        self._ended[container_id] = out_of_memory
        self._ended_set.set()

    async def _tell_exits(self) -> None:
        """One inspection for all that ended since the last one."""
        while True:
            await self._ended_set.wait()
            self._ended_set.clear()
            ended = dict(self._ended)
            try:
                states = {e["Id"]: e["State"] for e in await self._inspect(list(ended))}
            except CriError as error:
                _log.warning("exit codes cannot be read yet", extra={"error": error.message})
                states = {}
            async with asyncio.TaskGroup() as tasks:
                for container_id, out_of_memory in ended.items():
                    state = states.get(container_id)
                    if state is not None and state["Status"] == "running":
                        continue  # containerd has not heard yet
                    tasks.create_task(self._end(container_id, state, out_of_memory))
            if self._ended:
                await self._clock.sleep(EXIT_POLL_S)
                self._ended_set.set()

    async def _end(self, container_id: str, state: dict[str, Any] | None, oom: bool) -> None:
        if container_id in self._logged:
            await self._logs.drain(container_id)
        self._ended.pop(container_id, None)
        end = _exit_of(state or {"Status": "absent"}, self._now_ns(), out_of_memory=oom)
        self._tell(container_id, end)

    def _tell(self, container_id: str, end: ContainerExit) -> None:
        assert self._listener is not None, "start() comes first"
        self._listener.container_exited(container_id, end)

    # -- below -------------------------------------------------------------------------------------

    async def _create(self, creation: nerdctl_argv.Creation, edits: Any) -> str:
        """nerdctl's container, with its directory. On failure nothing of it is left."""
        argv = nerdctl_argv.create(self._settings, creation)
        finished = await command.run(argv)
        if finished.code != 0:
            raise CriError(Code.UNKNOWN, f"failed to create container: {finished.complaint()}")
        new_id = finished.stdout.decode().split()[-1]
        try:
            directory = self._containers_dir / new_id
            directory.mkdir(mode=0o700)
            for name in (oci_runtime.STDIN, oci_runtime.STDOUT, oci_runtime.STDERR):
                os.mkfifo(directory / name, 0o600)
            text = json.dumps(edits(new_id))
            fd = os.open(directory / oci_runtime.EDITS, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)
        except BaseException:
            await asyncio.shield(self._remove_engine_container(new_id))
            raise
        return new_id

    async def _remove_engine_container(self, container_id: str) -> None:
        finished = await command.run(nerdctl_argv.remove(self._settings, [container_id]))
        complaint = finished.complaint().lower()
        if finished.code != 0 and "no such container" not in complaint:
            raise CriError(Code.UNKNOWN, f"failed to remove container: {finished.complaint()}")
        with contextlib.suppress(CriError):
            await self._logs.drop(container_id)
        shutil.rmtree(self._containers_dir / container_id, ignore_errors=True)

    def _spec_request(
        self, sandbox: SandboxRecord, config: cri.ContainerConfig, cgroup: str
    ) -> nerdctl_spec.Request:
        options = config.linux.security_context.namespace_options
        pause = self._running.get(sandbox.engine.get("pause", ""))
        pid_path = f"/proc/{pause.pid}/ns/pid" if pause else ""
        target_path = ""
        if options.pid == cri.TARGET:
            target = self._running.get(options.target_id)
            if target is None or target.sandbox_id != sandbox.id:
                raise precondition(f"target container {options.target_id!r} does not run here")
            target_path = f"/proc/{target.pid}/ns/pid"
        profile = nerdctl_spec.seccomp_profile(config.linux.security_context)
        seccomp = None
        if profile.profile_type == cri.SecurityProfile.Localhost:
            seccomp = _load_seccomp(profile.localhost_ref)
        return nerdctl_spec.Request(
            config=config,
            sandbox=sandbox.config,
            paths=self._sandboxes.paths(sandbox.id, sandbox.config, pid_path),
            facts=self._facts,
            cgroup_path=cgroup,
            target_pid=target_path,
            seccomp=seccomp,
        )

    @staticmethod
    def _prepare_mounts(config: cri.ContainerConfig) -> cri.ContainerConfig:
        """Host paths without links, made where they are missing, as containerd does."""
        prepared = cri.ContainerConfig()
        prepared.CopyFrom(config)
        for mount in prepared.mounts:
            if not mount.host_path or mount.HasField("image"):
                continue
            if not os.path.exists(mount.host_path):
                os.makedirs(mount.host_path, 0o755, exist_ok=True)
            mount.host_path = os.path.realpath(mount.host_path)
        return prepared

    def _marks(self) -> tuple[bytes, ...]:
        """How to tell the programs that this state directory's shim starts."""
        return (
            f"--data-root={self._settings.data_root}".encode(),
            f"CNI_NETNS={self._state_dir}/".encode(),
        )

    def _cgroup(self, parent: str, container_id: str) -> str:
        return f"{parent.rstrip('/') or f'/{self._settings.namespace}'}/{container_id}"

    def _logged_of(self, container_id: str, record: ContainerRecord) -> LoggedContainer:
        config = record.config
        return LoggedContainer(
            id=container_id,
            directory=self._containers_dir / container_id,
            log_path=record.log_path,
            tty=config.tty,
            stdin=config.stdin,
            stdin_once=config.stdin_once,
        )

    def _notes(self, container_id: str) -> dict[str, Any]:
        """What the launcher wrote down. Raises: CriError."""
        try:
            path = self._containers_dir / container_id / oci_runtime.RUNC_NOTES
            tree: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CriError(Code.INTERNAL, f"container {container_id!r}: {error}") from error
        return tree

    def _pid_of(self, container_id: str) -> int:
        return int(Path(self._notes(container_id)["pid_file"]).read_text())

    def _note_user(self, container: ContainerRecord) -> None:
        notes = self._notes(container.id)
        groups = ",".join(str(gid) for gid in notes["groups"])
        container.engine["user"] = f"{notes['uid']}:{notes['gid']}:{groups}"

    def _target(self, container: ContainerRecord) -> runc_exec.ExecTarget:
        root = self._notes(container.id)["root"]
        return runc_exec.ExecTarget(self._runc, root, container.id)

    async def _inspect_all(self) -> list[dict[str, Any]]:
        listed = await command.must(nerdctl_argv.list_ids(self._settings))
        return await self._inspect(listed.decode().split())

    async def _inspect(self, container_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Those that there are; others are left out."""
        if not container_ids:
            return []
        finished = await command.run(nerdctl_argv.inspect(self._settings, container_ids))
        try:
            return command.json_entries(finished.stdout)
        except ValueError as error:
            raise CriError(Code.UNKNOWN, f"nerdctl inspect: {finished.complaint()}") from error

    def _now_ns(self) -> int:
        since = self._clock.now() - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def _exit_of(state: dict[str, Any], now: int, *, out_of_memory: bool) -> ContainerExit:
    if state["Status"] not in ("exited", "dead", "stopped"):
        return ContainerExit(now, UNKNOWN_EXIT_CODE, "Unknown", "its end was not seen")
    reason = "OOMKilled" if out_of_memory else ""
    return ContainerExit(_time_ns(state["FinishedAt"]) or now, state["ExitCode"], reason)


def _time_ns(text: str) -> int:
    """RFC 3339 with any number of fraction digits; 0 for the zero time."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    except ValueError:
        return 0
    seconds = int((moment - _EPOCH).total_seconds())
    return max(0, seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0))


def _send(pidfd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def _stop_signal(container: ContainerRecord) -> int:
    """The container's own, the image's, or SIGTERM."""
    name = cri.Signal.Name(container.config.stop_signal)
    if container.config.stop_signal == cri.RUNTIME_DEFAULT:
        name = container.engine.get("stop_signal") or "SIGTERM"
    return signal_number(name)


def signal_number(name: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMINPLUS3`, `SIGRTMIN+3`; SIGTERM for anything unknown."""
    if name.isdigit():
        return int(name)
    text = name.upper().removeprefix("SIG").replace("PLUS", "+").replace("MINUS", "-")
    for base in ("RTMIN", "RTMAX"):
        if text.startswith(base):
            offset = text.removeprefix(base) or "0"
            with contextlib.suppress(ValueError):
                return int(signal.Signals[f"SIG{base}"]) + int(offset)
    return int(signal.Signals.__members__.get(f"SIG{text}", signal.SIGTERM))


def _load_seccomp(path: str) -> oci_runtime.Spec:
    try:
        tree: oci_runtime.Spec = json.loads(Path(path.removeprefix("localhost/")).read_text())
    except (OSError, ValueError) as error:
        raise CriError(Code.INVALID_ARGUMENT, f"seccomp profile {path!r}: {error}") from error
    return tree


def create(context: BackendContext) -> NerdctlBackend:
    """The entry point `nerdctl`."""
    return NerdctlBackend(context)
