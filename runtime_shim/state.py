"""What the shim knows: records of sandboxes and containers, in memory.

A record holds what was asked for and moments of time; states are derived from them and are never
stored, so they cannot disagree:

    sandbox      created_at ──────────────► READY ── stopped_at ──► NOTREADY ── removed ──► (gone)

    container    created_at ──► CREATED ── started_at ──► RUNNING ── finished_at ──► EXITED ► (gone)
                                   │                                      ▲
                                   └────────── start failed (exit 128) ───┘
                 `lost`: the engine cannot tell what became of it ─────► UNKNOWN

All times are Unix time in nanoseconds, 0 = has not happened.
Source: containerd internal/cri/store/container/status.go (the idea that times are the state).
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.cpu_rate import CpuRate
from runtime_shim.errors import Code, CriError, not_found

READY = cri.SANDBOX_READY
NOTREADY = cri.SANDBOX_NOTREADY
CREATED = cri.CONTAINER_CREATED
RUNNING = cri.CONTAINER_RUNNING
EXITED = cri.CONTAINER_EXITED
UNKNOWN = cri.CONTAINER_UNKNOWN

START_FAILED_EXIT_CODE = 128


@dataclass(slots=True, eq=False)
class SandboxRecord:
    """One Pod sandbox. `engine` is the backend's own notebook: it is kept with the record."""

    id: str
    config: cri.PodSandboxConfig
    handler: str
    created_at: int
    ips: tuple[str, ...] = ()
    stopped_at: int = 0
    engine: dict[str, str] = field(default_factory=dict)
    cpu_rate: CpuRate = field(default_factory=CpuRate)
    removing: bool = False
    _listed: cri.PodSandbox | None = None

    @property
    def state(self) -> cri.PodSandboxState:
        return NOTREADY if self.stopped_at else READY

    def changed(self) -> None:
        """Drops what was prepared for listings."""
        self._listed = None

    def listed(self) -> cri.PodSandbox:
        """The sandbox as ListPodSandbox shows it; shared, not to be changed."""
        if self._listed is None:
            self._listed = cri.PodSandbox(
                id=self.id,
                metadata=self.config.metadata,
                state=self.state,
                created_at=self.created_at,
                labels=self.config.labels,
                annotations=self.config.annotations,
                runtime_handler=self.handler,
            )
        return self._listed


@dataclass(slots=True, eq=False)
class ContainerRecord:
    """One container. `exited` is set once it has finished; `engine` as with sandboxes."""

    id: str
    sandbox_id: str
    config: cri.ContainerConfig
    handler: str
    image_id: str
    image_ref: str
    log_path: str
    created_at: int
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    lost: bool = False
    engine: dict[str, str] = field(default_factory=dict)
    cpu_rate: CpuRate = field(default_factory=CpuRate)
    starting: bool = False
    removing: bool = False
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    _listed: cri.Container | None = None

    @property
    def state(self) -> cri.ContainerState:
        if self.lost:
            return UNKNOWN
        if self.finished_at:
            return EXITED
        return RUNNING if self.started_at else CREATED

    def changed(self) -> None:
        """Drops what was prepared for listings."""
        self._listed = None

    def finish(self, at: int, exit_code: int, reason: str, message: str) -> bool:
        """Records the end, once. False if it was known already."""
        if self.finished_at and not self.lost:
            return False
        self.finished_at, self.exit_code, self.lost = at, exit_code, False
        self.reason = reason or ("Completed" if exit_code == 0 else "Error")
        self.message = message
        self.changed()
        self.exited.set()
        return True

    def listed(self) -> cri.Container:
        """The container as ListContainers shows it; shared, not to be changed."""
        if self._listed is None:
            self._listed = cri.Container(
                id=self.id,
                pod_sandbox_id=self.sandbox_id,
                metadata=self.config.metadata,
                image=self.config.image,
                image_ref=self.image_ref,
                image_id=self.image_id,
                state=self.state,
                created_at=self.created_at,
                labels=self.config.labels,
                annotations=self.config.annotations,
            )
        return self._listed


class State:
    """All records of one shim. Plain synchronous code: a change is never half done."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, SandboxRecord] = {}
        self.containers: dict[str, ContainerRecord] = {}
        self._members: dict[str, dict[str, ContainerRecord]] = {}
        self._reserved: dict[str, str] = {}

    def reserve(self, name: str) -> None:
        """Claims a sandbox's or container's full name until `release`.

        Raises: CriError ALREADY_EXISTS, so that a repeated call never makes a second container.
        """
        if name in self._reserved:
            owner = self._reserved[name] or "a call under way"
            raise CriError(Code.ALREADY_EXISTS, f"name {name!r} is reserved for {owner}")
        self._reserved[name] = ""

    def release(self, name: str) -> None:
        self._reserved.pop(name, None)

    def add_sandbox(self, record: SandboxRecord) -> None:
        self.sandboxes[record.id] = record
        self._members.setdefault(record.id, {})
        self._reserved[sandbox_name(record.config)] = record.id

    def add_container(self, record: ContainerRecord) -> None:
        self.containers[record.id] = record
        self._members.setdefault(record.sandbox_id, {})[record.id] = record
        self._reserved[container_name(record.sandbox_id, record.config)] = record.id

    def drop_sandbox(self, record: SandboxRecord) -> None:
        self.sandboxes.pop(record.id, None)
        self._members.pop(record.id, None)
        self.release(sandbox_name(record.config))

    def drop_container(self, record: ContainerRecord) -> None:
        self.containers.pop(record.id, None)
        self._members.get(record.sandbox_id, {}).pop(record.id, None)
        self.release(container_name(record.sandbox_id, record.config))

    def containers_of(self, sandbox_id: str) -> list[ContainerRecord]:
        return list(self._members.get(sandbox_id, {}).values())

    def sandbox(self, given: str) -> SandboxRecord:
        """By id or an unambiguous beginning of it. Raises: CriError NOT_FOUND."""
        return _by_prefix(self.sandboxes, given, "sandbox")

    def container(self, given: str) -> ContainerRecord:
        """By id or an unambiguous beginning of it. Raises: CriError NOT_FOUND."""
        return _by_prefix(self.containers, given, "container")

    def select_sandboxes(self, asked: cri.PodSandboxFilter) -> Iterator[SandboxRecord]:
        for record in _candidates(self.sandboxes, asked.id):
            if asked.HasField("state") and record.state != asked.state.state:
                continue
            if _labels_match(asked.label_selector, record.config.labels):
                yield record

    def select_containers(self, asked: cri.ContainerFilter) -> Iterator[ContainerRecord]:
        members: Iterable[ContainerRecord]
        if asked.pod_sandbox_id and not asked.id:
            members = self.containers_of(asked.pod_sandbox_id) or (
                c for c in self.containers.values() if c.sandbox_id.startswith(asked.pod_sandbox_id)
            )
        else:
            members = _candidates(self.containers, asked.id)
        for record in members:
            if asked.HasField("state") and record.state != asked.state.state:
                continue
            if not record.sandbox_id.startswith(asked.pod_sandbox_id):
                continue
            if _labels_match(asked.label_selector, record.config.labels):
                yield record


RecordT = TypeVar("RecordT", SandboxRecord, ContainerRecord)


def sandbox_name(config: cri.PodSandboxConfig) -> str:
    """What tells a sandbox from every other that may exist at the same time."""
    m = config.metadata
    return f"{m.name}_{m.namespace}_{m.uid}_{m.attempt}"


def container_name(sandbox_id: str, config: cri.ContainerConfig) -> str:
    """The same for a container."""
    return f"{config.metadata.name}_{sandbox_id}_{config.metadata.attempt}"


def _by_prefix(records: dict[str, RecordT], given: str, kind: str) -> RecordT:
    if found := records.get(given):
        return found
    matching = [record for key, record in records.items() if given and key.startswith(given)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise CriError(Code.NOT_FOUND, f"{kind} id {given!r} is ambiguous: give more of it")
    raise not_found(kind, given)


def _candidates(records: dict[str, RecordT], prefix: str) -> Iterable[RecordT]:
    if not prefix:
        return list(records.values())
    if prefix in records:
        return [records[prefix]]
    return [record for key, record in records.items() if key.startswith(prefix)]


def _labels_match(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return not selector or all(labels.get(key) == value for key, value in selector.items())
