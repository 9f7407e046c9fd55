"""What a container engine must do to serve CRI through this shim.

The shim keeps the records (names, labels, states, times, journal), checks requests, and answers
listings itself; a backend only makes things happen and reports exits. To add one, implement
`Backend` and name it under the entry point group `podpath.runtime_backends`; see
docs/howto/runtime-backend.md. One suite runs on all: tests/contract/test_runtime_backends.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from podpath.component_base.clock import Clock
from podpath.component_base.streaming.process import ByteStream, Process
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.state import ContainerRecord, SandboxRecord


@dataclass(frozen=True, slots=True)
class SandboxStarted:
    """A new sandbox: its id, its addresses (none on the host's network), the engine's notes."""

    id: str
    ips: tuple[str, ...] = ()
    engine: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerCreated:
    """A new container that does not run yet."""

    id: str
    engine: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """The end of a container. `reason` is empty, "OOMKilled" or the engine's own word."""

    finished_at: int
    exit_code: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What ExecSync returns: the command's exit code is data, not an error."""

    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """The engine's name and version, whether it can serve now (empty message: it can), and what it
    offers of CRI's optional features."""

    name: str
    version: str
    runtime_problem: str = ""
    network_problem: str = ""
    supplemental_groups_policy: bool = False
    recursive_read_only_mounts: bool = False


class Listener(Protocol):
    """Whom a backend tells what happened by itself. Callable from the event loop only."""

    def container_exited(self, container_id: str, end: ContainerExit) -> None:
        """The container ended. Repeats and unknown ids are ignored."""

    def sandbox_stopped(self, sandbox_id: str) -> None:
        """The sandbox is no longer usable."""


class Sandboxes(Protocol):
    """The Pod level."""

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str) -> SandboxStarted:
        """Makes and starts it. On any failure nothing of it is left. Raises: CriError."""

    async def stop_sandbox(self, sandbox: SandboxRecord) -> None:
        """Frees its network. Idempotent; its containers are stopped already."""

    async def remove_sandbox(self, sandbox: SandboxRecord) -> None:
        """Frees all it holds. Idempotent; it is stopped and has no containers any more."""


class Containers(Protocol):
    """Containers in a sandbox."""

    async def create_container(
        self, sandbox: SandboxRecord, config: cri.ContainerConfig, image: cri.Image, log_path: str
    ) -> ContainerCreated:
        """Prepares one. On any failure nothing of it is left. Raises: CriError."""

    async def start_container(self, sandbox: SandboxRecord, container: ContainerRecord) -> int:
        """Starts it; returns when it runs, with the time in ns. Its exit may already be told.

        Raises: CriError if its process cannot start; the container then counts as exited.
        """

    async def stop_container(self, container: ContainerRecord, grace_s: float) -> None:
        """Sends the stop signal, after the grace period kills; returns when the exit was told.

        Not idempotent with itself: a second call with a shorter grace must take effect.
        """

    async def remove_container(self, container: ContainerRecord) -> None:
        """Removes a container that does not run. Idempotent."""

    async def exec_sync(
        self, container: ContainerRecord, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Runs a command in it; 0 = no limit. Raises: CriError DEADLINE_EXCEEDED, and then the
        command is dead."""

    async def exec(
        self, container: ContainerRecord, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Process:
        """Starts a command whose streams the caller drives."""

    async def attach(self, container: ContainerRecord, *, stdin: bool) -> Process:
        """Joins the streams of the running container; several may at once."""

    async def port_forward(self, sandbox: SandboxRecord, port: int) -> ByteStream:
        """Connects to a TCP port inside the sandbox's network. Raises: CriError."""

    async def reopen_log(self, container: ContainerRecord) -> None:
        """Goes on in a new file at the same path. Raises: CriError, and then makes no file."""

    async def update_resources(
        self, container: ContainerRecord, resources: cri.LinuxContainerResources
    ) -> None:
        """Changes the limits that are set (not 0) of a created or running container."""


class Stats(Protocol):
    """Figures, taken at call time without starting a process."""

    async def container_stats(self, container: ContainerRecord) -> cri.ContainerStats:
        """Of a running container; what is not known is absent."""

    async def sandbox_stats(self, sandbox: SandboxRecord) -> cri.LinuxPodSandboxStats:
        """Of the Pod as a whole, without its containers' own."""


class Images(Protocol):
    """Images. References are in any form: name, name:tag, name@digest, image id."""

    async def images(self) -> Sequence[cri.Image]:
        """All there are, each once, with all its names."""

    async def image(self, reference: str) -> cri.Image | None:
        """The one meant, or None."""

    async def pull_image(
        self, spec: cri.ImageSpec, auth: cri.AuthConfig, sandbox: cri.PodSandboxConfig
    ) -> str:
        """Fetches it; the image id. Raises: CriError in bounded time, naming the cause."""

    async def remove_image(self, image: cri.Image) -> None:
        """Removes it with all its names. Idempotent."""

    async def image_fs(self) -> cri.ImageFsInfoResponse:
        """How much room images take, and where."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of the containers that the journal knows, after a restart.

    A container that is in neither map still is as the record says.
    """

    started: dict[str, int] = field(default_factory=dict)  # id → started_at, ns
    exits: dict[str, ContainerExit] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    stopped_sandboxes: frozenset[str] = frozenset()


class Backend(Sandboxes, Containers, Stats, Images, Protocol):
    """A container engine."""

    async def start(self, listener: Listener) -> None:
        """Called once, before all else. Raises: CriError if the engine cannot be used at all."""

    async def recover(
        self, sandboxes: Sequence[SandboxRecord], containers: Sequence[ContainerRecord]
    ) -> Recovered:
        """Called once, after `start`: compares the records with what there is.

        Whatever the engine holds that no record names is removed: nobody would ever ask for it.
        """

    async def run(self) -> None:
        """Background work until cancelled."""

    async def info(self) -> RuntimeInfo:
        """Called for Version and Status; answers from memory where it can."""

    async def set_pod_cidr(self, cidr: str) -> None:
        """The range of the addresses of Pods to come."""


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend is made with: `options` are the shim's flags, by name."""

    clock: Clock
    state_dir: Path | None
    options: dict[str, str]


class BackendFactory(Protocol):
    """The object that an entry point of `podpath.runtime_backends` names."""

    def __call__(self, context: BackendContext) -> Backend: ...


@runtime_checkable
class RemoteStreams(Protocol):
    """Optional: a backend whose engine has a streaming server of its own. Its `exec`, `attach` and
    `port_forward` are not called then; callers are sent to these URLs."""

    async def exec_url(self, request: cri.ExecRequest) -> str: ...

    async def attach_url(self, request: cri.AttachRequest) -> str: ...

    async def port_forward_url(self, request: cri.PortForwardRequest) -> str: ...
