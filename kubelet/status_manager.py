"""The newest status of each Pod of a node, and how it gets to the API server.

A status is written when it differs from what was last written. One that only says that containers
are being made waits a moment, because the next usually overtakes it. A Pod that is to be deleted
and whose containers have all stopped is deleted here, after its last status is stored.

Source: pkg/kubelet/status/status_manager.go.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from kubelet.pod_status import DISRUPTION, OWNED, TERMINAL
from kubelet.status_writer import StatusJob, StatusWriter
from kubelet.timers import Timers
from podpath.api.errors import ApiError
from podpath.api.scheme import PODS
from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from protos.k8s import core_v1_pb2 as core
from protos.k8s.meta_v1_pb2 import DeleteOptions, Preconditions

log = logging.getLogger(__name__)

LINGER_S = 0.1
RETRY_S = 5.0
# A server that was away is asked again soon: what it missed is what others wait for.
RETRY_UNAVAILABLE_S = 1.0
_AWAY = frozenset({"ServiceUnavailable", "ServerTimeout", "Timeout", "TooManyRequests"})
_CONFLICT_RETRIES = 5


@dataclass(slots=True, eq=False)
class _Tracked:
    """One Pod. `base` is the newest object known, from the watch or from our own write."""

    base: core.Pod
    status: core.PodStatus
    written: core.PodStatus | None
    # What the server made of our last write: if it shows anything else, somebody else wrote.
    echo: core.PodStatus | None = None
    finished: bool = False
    conflicts: int = 0
    deleting: bool = False


class StatusManager:
    """Statuses of one node's Pods."""

    def __init__(
        self,
        client: Client,
        writer: StatusWriter,
        timers: Timers,
        clock: Clock,
        spawn: Callable[..., object],
        linger_s: float = LINGER_S,
    ) -> None:
        """`spawn(coroutine)` runs work in the kubelet's task group."""
        self._client = client
        self._writer = writer
        self._timers = timers
        self._clock = clock
        self._spawn = spawn
        self._linger_s = linger_s
        self._pods: dict[str, _Tracked] = {}

    def known(self, pod: core.Pod) -> core.PodStatus:
        """The newest status: our own if we have one, else what the API server has."""
        tracked = self._pods.get(pod.metadata.uid)
        return tracked.status if tracked is not None else pod.status

    def observe(self, pod: core.Pod) -> None:
        """The API server's object has changed."""
        tracked = self._pods.get(pod.metadata.uid)
        if tracked is None or not _newer(pod, tracked.base):
            return
        tracked.base = pod
        settled = tracked.written is tracked.status
        if settled and tracked.echo is not None and pod.status != tracked.echo:
            # A controller may have marked it unready while the node was silent.
            tracked.echo = pod.status
            tracked.written = None
            self._submit(tracked)
        if tracked.finished:
            self._finish(tracked)

    def set(self, pod: core.Pod, status: core.PodStatus) -> bool:
        """The Pod's status is this now. False when nothing changed. Never un-ends a Pod."""
        tracked = self._pods.get(pod.metadata.uid)
        if tracked is None:
            tracked = _Tracked(pod, pod.status, pod.status)
            self._pods[pod.metadata.uid] = tracked
        elif tracked.status.phase in TERMINAL and status.phase != tracked.status.phase:
            log.error("a phase that has ended was not reopened", extra={"uid": pod.metadata.uid})
            return False
        if status == tracked.status:
            return False
        urgent = self._is_urgent(tracked, status)
        tracked.status = status
        if urgent:
            self._submit(tracked)
        else:
            due = self._clock.monotonic() + self._linger_s
            self._timers.at(due, lambda: self._submit(tracked))
        return True

    def soon(self, call: Callable[[], None]) -> None:
        """Calls after the moment that a status which is not urgent waits."""
        if self._linger_s <= 0:
            call()
        else:
            self._timers.at(self._clock.monotonic() + self._linger_s, call)

    def _is_urgent(self, tracked: _Tracked, status: core.PodStatus) -> bool:
        if self._linger_s <= 0 or status.phase != "Pending":
            return True
        waiting = (
            s.state.waiting.reason
            for s in (*status.containerStatuses, *status.initContainerStatuses)
        )
        return not all(reason in ("ContainerCreating", "PodInitializing") for reason in waiting)

    def finish(self, pod: core.Pod, status: core.PodStatus) -> None:
        """Everything of the Pod has stopped; if it is to be deleted, it can go now."""
        self.set(pod, status)
        tracked = self._pods[pod.metadata.uid]
        tracked.finished = True
        self._finish(tracked)

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)

    def _submit(self, tracked: _Tracked) -> None:
        uid = tracked.base.metadata.uid
        if self._pods.get(uid) is not tracked:
            return
        self._writer.submit(
            StatusJob(
                uid, lambda: self._build(tracked), lambda result: self._stored(tracked, result)
            )
        )

    def _build(self, tracked: _Tracked) -> core.Pod | None:
        uid = tracked.base.metadata.uid
        if self._pods.get(uid) is not tracked or tracked.deleting:
            return None
        if tracked.written is not None and tracked.written == tracked.status:
            return None
        status = merged(tracked.base.status, tracked.status)
        tracked.written = tracked.status
        if status == tracked.base.status:
            if tracked.finished:
                self._finish(tracked)
            return None
        pod = core.Pod()
        # The spec is not sent: a status write cannot change it.
        pod.metadata.CopyFrom(tracked.base.metadata)
        pod.status.CopyFrom(status)
        return pod

    def _stored(self, tracked: _Tracked, result: core.Pod | ApiError) -> None:
        if isinstance(result, ApiError):
            self._refused(tracked, result)
            return
        tracked.conflicts = 0
        tracked.echo = result.status
        if _newer(result, tracked.base):
            tracked.base = result
        if tracked.written is not tracked.status:
            self._submit(tracked)
        elif tracked.finished:
            self._finish(tracked)

    def _refused(self, tracked: _Tracked, error: ApiError) -> None:
        # What was sent is not what is stored: until it is, nothing counts as written.
        tracked.written = None
        meta = tracked.base.metadata
        if error.reason == "NotFound":
            return
        if error.reason == "Conflict" and tracked.conflicts < _CONFLICT_RETRIES:
            tracked.conflicts += 1
            self._spawn(self._read_again(tracked))
            return
        log.warning("status refused", extra={"pod": meta.name, "error": str(error)})
        self._submit_later(tracked, error)

    def _submit_later(self, tracked: _Tracked, error: ApiError) -> None:
        delay = RETRY_UNAVAILABLE_S if error.reason in _AWAY else RETRY_S
        self._timers.at(self._clock.monotonic() + delay, lambda: self._submit(tracked))

    async def _read_again(self, tracked: _Tracked) -> None:
        meta = tracked.base.metadata
        try:
            pod = await self._client.get(PODS, meta.namespace, meta.name)
        except ApiError as error:
            if error.reason != "NotFound":
                self._submit_later(tracked, error)
            return
        if pod.metadata.uid != meta.uid:
            # Another Pod of that name: ours is gone.
            return
        tracked.base = pod
        self._submit(tracked)

    def _finish(self, tracked: _Tracked) -> None:
        """Deletes once the last status is stored."""
        if tracked.deleting or not tracked.base.metadata.HasField("deletionTimestamp"):
            return
        if tracked.written is not tracked.status and tracked.written != tracked.status:
            self._submit(tracked)
            return
        tracked.deleting = True
        self._spawn(self._delete(tracked))

    async def _delete(self, tracked: _Tracked) -> None:
        meta = tracked.base.metadata
        options = DeleteOptions(gracePeriodSeconds=0, preconditions=Preconditions(uid=meta.uid))
        while True:
            try:
                await self._client.delete(PODS, meta.namespace, meta.name, options)
            except ApiError as error:
                if error.reason in ("NotFound", "Conflict"):
                    # Gone, or of another uid: ours is gone.
                    return
                log.warning("delete failed", extra={"pod": meta.name, "error": str(error)})
                await self._clock.sleep(RETRY_S)
            else:
                log.debug("pod deleted", extra={"pod": meta.name, "uid": meta.uid})
                return


def merged(server: core.PodStatus, ours: core.PodStatus) -> core.PodStatus:
    """Our status, with what others wrote meanwhile: their conditions and nominated node."""
    theirs = [c for c in server.conditions if c.type not in OWNED]
    if server.nominatedNodeName == ours.nominatedNodeName and (
        not theirs or theirs == [c for c in ours.conditions if c.type not in OWNED]
    ):
        return ours
    evicted = [c for c in ours.conditions if c.type == DISRUPTION]
    kept = [c for c in theirs if not (evicted and c.type == DISRUPTION)]
    status = core.PodStatus()
    status.CopyFrom(ours)
    del status.conditions[:]
    status.conditions.extend([*kept, *evicted])
    status.conditions.extend(c for c in ours.conditions if c.type in OWNED)
    if server.nominatedNodeName:
        status.nominatedNodeName = server.nominatedNodeName
    return status


def _newer(candidate: core.Pod, known: core.Pod) -> bool:
    """By resourceVersion, which is comparable (KEP-5504); equal counts as newer."""
    new, old = candidate.metadata.resourceVersion, known.metadata.resourceVersion
    if new.isdigit() and old.isdigit():
        return int(new) >= int(old)
    return True
