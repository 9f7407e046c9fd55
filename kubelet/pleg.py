"""Pod life cycle events: what the runtime holds, kept up to date, and whom it concerns.

GetContainerEvents tells changes as they happen; a relist is the safety net: every second while no
events flow, every 300 s while they do. Either way a Pod's record changes first and its worker is
told after. Records of what cannot be inspected now stay as they are, so the next relist sees the
difference again.

Source: pkg/kubelet/pleg/{generic,evented}.go, pkg/kubelet/container/cache.go.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kubelet.cri_client import Cri, CriError
from kubelet.runtime_status import (
    POD_UID_LABEL,
    RUNNING,
    RuntimePodStatus,
    pod_uid_of,
    runtime_pod_status,
)
from podpath.component_base.clock import Clock
from podpath.component_base.pod_trace import NO_CONTEXT, PodStep, stamp
from protos.cri import runtime_v1_pb2 as cri

log = logging.getLogger(__name__)

RELIST_S = 1.0
RELIST_WITH_EVENTS_S = 300.0
UNHEALTHY_AFTER_S = 180.0
UNHEALTHY_AFTER_WITH_EVENTS_S = 600.0
# Upstream gives up after five failures; a runtime that is restarted is worth more of them.
STREAM_RETRY_S = 1.0


@dataclass(slots=True)
class _Held:
    """One sandbox and its containers, as the runtime had them at `at_ns` of its clock."""

    at_ns: int
    sandbox: cri.PodSandboxStatus | None
    containers: tuple[cri.ContainerStatus, ...] = ()


@dataclass(slots=True)
class _Pod:
    held: dict[str, _Held] = field(default_factory=dict)  # by sandbox id
    status: RuntimePodStatus | None = None


class Pleg:
    """The runtime's records of all Pods, by uid."""

    def __init__(self, runtime: Cri, clock: Clock, on_change: Callable[[str], None]) -> None:
        self._cri = runtime
        self._clock = clock
        self._on_change = on_change
        self._pods: dict[str, _Pod] = {}
        self._uid_of_sandbox: dict[str, str] = {}
        self.events_flow = False
        self._relisted_at: float | None = None
        self.listed = asyncio.Event()

    def get(self, uid: str) -> RuntimePodStatus:
        """The latest known; empty for a Pod that the runtime does not know."""
        pod = self._pods.get(uid)
        return pod.status if pod is not None and pod.status else RuntimePodStatus(uid)

    def inside(self, uid: str) -> dict[str, tuple[cri.ContainerStatus, ...]]:
        """The Pod's containers by the id of their sandbox."""
        pod = self._pods.get(uid)
        return {id_: held.containers for id_, held in pod.held.items()} if pod is not None else {}

    def uids(self) -> list[str]:
        """All Pods that the runtime holds something of."""
        return list(self._pods)

    def problem(self) -> str:
        """Why the node is not ready on the runtime's account; empty when it is."""
        if self._relisted_at is None:
            return "PLEG is not healthy: pleg has yet to be successful"
        limit = UNHEALTHY_AFTER_WITH_EVENTS_S if self.events_flow else UNHEALTHY_AFTER_S
        elapsed = self._clock.monotonic() - self._relisted_at
        if elapsed <= limit:
            return ""
        return (
            f"PLEG is not healthy: pleg was last seen active {elapsed:.0f}s ago; "
            f"threshold is {limit:.0f}s"
        )

    async def run(self) -> None:
        """Follows the runtime until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_events(), name="pleg-events")
            tasks.create_task(self._relist_periodically(), name="pleg-relist")

    # Events

    async def _follow_events(self) -> None:
        while True:
            try:
                stream = self._cri.events()
                # What changed before the subscription is only seen by listing after it.
                first = asyncio.ensure_future(anext(stream, None))
                await asyncio.sleep(0)
                self.events_flow = await self._relist_quietly()
                event = await first
                while event is not None:
                    self.apply(event)
                    event = await anext(stream, None)
            except CriError as error:
                log.info("container events ended", extra={"error": str(error)})
                if error.code == "UNIMPLEMENTED":
                    self.events_flow = False
                    return
            self.events_flow = False
            await self._clock.sleep(STREAM_RETRY_S)

    def apply(self, event: cri.ContainerEventResponse) -> None:
        """Takes over what an event says about one sandbox."""
        if event.HasField("pod_sandbox_status"):
            sandbox = event.pod_sandbox_status
            uid = pod_uid_of(sandbox.labels, sandbox.metadata.uid)
            if uid:
                held = _Held(event.created_at, sandbox, tuple(event.containers_statuses))
                self._store(uid, sandbox.id, held)
            return
        # The sandbox itself is gone; the event has its id alone.
        gone = self._uid_of_sandbox.get(event.container_id)
        if gone is not None:
            self._store(gone, event.container_id, None)

    def _store(self, uid: str, sandbox_id: str, held: _Held | None) -> None:
        pod = self._pods.get(uid)
        if pod is None:
            if held is None:
                return
            pod = self._pods[uid] = _Pod()
        present = pod.held.get(sandbox_id)
        if held is not None and present is not None and present.at_ns > held.at_ns:
            return
        before = pod.status
        if held is None:
            pod.held.pop(sandbox_id, None)
            self._uid_of_sandbox.pop(sandbox_id, None)
        else:
            pod.held[sandbox_id] = held
            self._uid_of_sandbox[sandbox_id] = uid
        self._rebuild(uid, pod, before)

    def _rebuild(self, uid: str, pod: _Pod, before: RuntimePodStatus | None) -> None:
        if not pod.held:
            self._pods.pop(uid, None)
            self._on_change(uid)
            return
        pod.status = runtime_pod_status(
            uid,
            (h.sandbox for h in pod.held.values() if h.sandbox is not None),
            (c for h in pod.held.values() for c in h.containers),
            self._clock.monotonic(),
        )
        if _running(pod.status) > _running(before):
            seen = f"{_running(pod.status)} containers run"
            stamp(PodStep.RUNTIME_SEEN, uid, seen, _annotations(pod.status))
        self._on_change(uid)

    # Relisting

    async def _relist_periodically(self) -> None:
        while True:
            period = RELIST_WITH_EVENTS_S if self.events_flow else RELIST_S
            due = (self._relisted_at or -period) + period - self._clock.monotonic()
            # Short sleeps, because events may stop flowing meanwhile.
            if due > 0:
                await self._clock.sleep(min(due, 10 * RELIST_S if self.events_flow else RELIST_S))
                continue
            if not await self._relist_quietly():
                await self._clock.sleep(RELIST_S)

    async def _relist_quietly(self) -> bool:
        try:
            await self.relist()
        except CriError as error:
            log.warning("relist failed", extra={"error": str(error)})
            return False
        return True

    async def relist(self) -> None:
        """Compares all of the runtime with the records; inspects what differs. Raises: CriError."""
        known = {uid: list(pod.held) for uid, pod in self._pods.items()}
        sandboxes = (await self._cri.ListPodSandbox(cri.ListPodSandboxRequest())).items
        containers = (await self._cri.ListContainers(cri.ListContainersRequest())).containers
        listed: dict[str, dict[str, tuple[int, frozenset[tuple[str, int]]]]] = {}
        uid_of: dict[str, str] = {}
        inside: dict[str, set[tuple[str, int]]] = {}
        for container in containers:
            inside.setdefault(container.pod_sandbox_id, set()).add((container.id, container.state))
        for sandbox in sandboxes:
            uid = pod_uid_of(sandbox.labels, sandbox.metadata.uid)
            if uid:
                uid_of[sandbox.id] = uid
                members = frozenset(inside.get(sandbox.id, ()))
                listed.setdefault(uid, {})[sandbox.id] = (sandbox.state, members)
        for uid in set(listed) | set(self._pods):
            if listed.get(uid, {}) != self._summary(uid):
                await self._inspect_listed(uid, listed.get(uid, {}), known.get(uid, ()))
        self._relisted_at = self._clock.monotonic()
        self.listed.set()

    def _summary(self, uid: str) -> dict[str, tuple[int, frozenset[tuple[str, int]]]]:
        pod = self._pods.get(uid)
        if pod is None:
            return {}
        return {
            sandbox_id: (
                held.sandbox.state if held.sandbox is not None else cri.SANDBOX_NOTREADY,
                frozenset((c.id, c.state) for c in held.containers),
            )
            for sandbox_id, held in pod.held.items()
        }

    async def inspect(self, uid: str) -> RuntimePodStatus:
        """Asks the runtime for one Pod now. Raises: CriError."""
        filter_ = cri.PodSandboxFilter(label_selector={POD_UID_LABEL: uid})
        known = list(self.inside(uid))
        answer = await self._cri.ListPodSandbox(cri.ListPodSandboxRequest(filter=filter_))
        await self._inspect_listed(uid, [sandbox.id for sandbox in answer.items], known)
        return self.get(uid)

    async def _inspect_listed(
        self, uid: str, sandbox_ids: Iterable[str], known: Iterable[str]
    ) -> None:
        """`known` are the sandboxes that were known before the listing: only they can be found to
        be gone by it. What an event told meanwhile is newer than the answer and stays."""
        found = {id_: await self._inspect_sandbox(id_) for id_ in sandbox_ids}
        pod = self._pods.setdefault(uid, _Pod())
        before = pod.status
        for id_ in known:
            if found.get(id_) is None:
                pod.held.pop(id_, None)
                self._uid_of_sandbox.pop(id_, None)
        for id_, held in found.items():
            present = pod.held.get(id_)
            if held is not None and (present is None or present.at_ns <= held.at_ns):
                pod.held[id_] = held
                self._uid_of_sandbox[id_] = uid
        self._rebuild(uid, pod, before)

    async def _inspect_sandbox(self, sandbox_id: str) -> _Held | None:
        try:
            answer = await self._cri.PodSandboxStatus(
                cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
            )
        except CriError as error:
            if error.code == "NOT_FOUND":
                return None
            raise
        if answer.timestamp:
            # Such runtimes tell the containers in the same answer.
            return _Held(answer.timestamp, answer.status, tuple(answer.containers_statuses))
        return _Held(0, answer.status, tuple(await self._containers_of(sandbox_id)))

    async def _containers_of(self, sandbox_id: str) -> list[cri.ContainerStatus]:
        filter_ = cri.ContainerFilter(pod_sandbox_id=sandbox_id)
        listed = await self._cri.ListContainers(cri.ListContainersRequest(filter=filter_))
        found = []
        for container in listed.containers:
            try:
                answer = await self._cri.ContainerStatus(
                    cri.ContainerStatusRequest(container_id=container.id)
                )
            except CriError as error:
                if error.code == "NOT_FOUND":
                    continue
                raise
            found.append(answer.status)
        return found


def _running(status: RuntimePodStatus | None) -> int:
    return sum(c.state == RUNNING for c in status.containers) if status is not None else 0


def _annotations(status: RuntimePodStatus) -> Mapping[str, str]:
    """The Pod's, as its newest sandbox has them."""
    return status.sandboxes[0].annotations if status.sandboxes else NO_CONTEXT
