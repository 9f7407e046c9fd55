"""What the RPCs work on: state, journal, backends, events; and the one place that records exits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backend import Backend, ContainerExit
from runtime_shim.checkpoint import Checkpoints
from runtime_shim.errors import CriError, not_found
from runtime_shim.events import EventHub
from runtime_shim.state import ContainerRecord, SandboxRecord, State
from runtime_shim.unhonoured import Warnings

_log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ResultT = TypeVar("ResultT")

EVENT_CREATED = cri.CONTAINER_CREATED_EVENT
EVENT_STARTED = cri.CONTAINER_STARTED_EVENT
EVENT_STOPPED = cri.CONTAINER_STOPPED_EVENT
EVENT_DELETED = cri.CONTAINER_DELETED_EVENT


class StreamUrls:
    """Where Exec, Attach and PortForward send their callers; see streaming.py."""

    def exec_url(self, request: cri.ExecRequest) -> str:
        raise NotImplementedError

    def attach_url(self, request: cri.AttachRequest) -> str:
        raise NotImplementedError

    def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Runtime:
    """One shim's working parts. `backends` maps RuntimeClass handlers; "" is the default."""

    backends: Mapping[str, Backend]
    checkpoints: Checkpoints
    clock: Clock
    state: State
    events: EventHub
    spawn: Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]
    streams: StreamUrls | None = None
    warnings: Warnings = field(default_factory=Warnings)

    def now_ns(self) -> int:
        """Unix time in nanoseconds, by the injected clock (microseconds precise)."""
        since = self.clock.now() - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000

    def backend(self, handler: str) -> Backend:
        """Raises: CriError NOT_FOUND for a handler that is not configured."""
        try:
            return self.backends[handler]
        except KeyError:
            raise not_found("runtime handler", handler) from None

    async def finish(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Runs `work` to its end although the caller may give up waiting.

        A call that changes things is never cut in the middle: a client's deadline would else
        leave half a sandbox behind.
        """
        result, error = await asyncio.shield(self.spawn(_outcome(work)))
        if error is not None:
            raise error
        return cast("ResultT", result)

    def save(self, record: SandboxRecord | ContainerRecord) -> None:
        record.changed()
        self.checkpoints.put(record)

    # -- what backends tell (backend.Listener) --------------------------------------------------

    def container_exited(self, container_id: str, end: ContainerExit) -> None:
        record = self.state.containers.get(container_id)
        if record is None:
            return
        if not record.started_at:
            record.started_at = end.finished_at
        if record.finish(end.finished_at, end.exit_code, end.reason, end.message):
            self.save(record)
            self.container_event(record, EVENT_STOPPED)
            _log.debug("container exited", extra={"id": record.id, "code": end.exit_code})

    def sandbox_stopped(self, sandbox_id: str) -> None:
        record = self.state.sandboxes.get(sandbox_id)
        if record is None or record.stopped_at:
            return
        record.stopped_at = self.now_ns()
        self.save(record)
        self.sandbox_event(record, EVENT_STOPPED)

    # -- events ----------------------------------------------------------------------------------

    def container_event(self, record: ContainerRecord, kind: cri.ContainerEventType) -> None:
        self.events.publish(lambda: self._event(record.id, record.sandbox_id, kind))

    def sandbox_event(self, record: SandboxRecord, kind: cri.ContainerEventType) -> None:
        self.events.publish(lambda: self._event(record.id, record.id, kind))

    def _event(
        self, subject: str, sandbox_id: str, kind: cri.ContainerEventType
    ) -> cri.ContainerEventResponse:
        event = cri.ContainerEventResponse(
            container_id=subject, container_event_type=kind, created_at=self.now_ns()
        )
        if sandbox := self.state.sandboxes.get(sandbox_id):
            event.pod_sandbox_status.CopyFrom(sandbox_status(sandbox))
            event.containers_statuses.extend(self.statuses_of(sandbox_id))
        return event

    def statuses_of(self, sandbox_id: str) -> Iterable[cri.ContainerStatus]:
        return [container_status(c) for c in self.state.containers_of(sandbox_id)]


def sandbox_status(record: SandboxRecord) -> cri.PodSandboxStatus:
    """The sandbox as PodSandboxStatus shows it."""
    status = cri.PodSandboxStatus(
        id=record.id,
        metadata=record.config.metadata,
        state=record.state,
        created_at=record.created_at,
        labels=record.config.labels,
        annotations=record.config.annotations,
        runtime_handler=record.handler,
    )
    options = record.config.linux.security_context.namespace_options
    status.linux.namespaces.options.CopyFrom(options)
    if record.ips and not record.stopped_at:
        status.network.ip = record.ips[0]
        status.network.additional_ips.extend(cri.PodIP(ip=ip) for ip in record.ips[1:])
    else:
        status.network.SetInParent()
    return status


def container_status(record: ContainerRecord) -> cri.ContainerStatus:
    """The container as ContainerStatus shows it."""
    config = record.config
    status = cri.ContainerStatus(
        id=record.id,
        metadata=config.metadata,
        state=record.state,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        exit_code=record.exit_code,
        image=config.image,
        image_ref=record.image_ref,
        image_id=record.image_id,
        reason=record.reason,
        message=record.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=config.mounts,
        log_path=record.log_path,
        stop_signal=config.stop_signal,
    )
    if config.image.user_specified_image:
        status.image.image = config.image.user_specified_image
    if config.linux.HasField("resources"):
        status.resources.linux.CopyFrom(config.linux.resources)
    _add_user(status, record)
    return status


def _add_user(status: cri.ContainerStatus, record: ContainerRecord) -> None:
    """The backend notes the identity that it resolved as "uid:gid:group,group"."""
    if noted := record.engine.get("user"):
        uid, gid, groups = noted.split(":")
        status.user.linux.uid, status.user.linux.gid = int(uid), int(gid)
        status.user.linux.supplemental_groups.extend(int(g) for g in groups.split(",") if g)


async def _outcome(
    work: Coroutine[Any, Any, ResultT],
) -> tuple[ResultT | None, Exception | None]:
    """A failure belongs to the caller; raised in the task group it would end the shim."""
    try:
        return await work, None
    except Exception as error:
        return None, error


async def stop_quietly(work: Awaitable[None], what: str) -> None:
    """For clean-up after a failure: its own failure is logged, not raised over the first one."""
    try:
        await work
    except CriError as error:
        _log.warning("clean-up failed", extra={"what": what, "error": error.message})
