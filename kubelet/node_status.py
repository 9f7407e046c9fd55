"""Registers the Node and keeps its status told: every 10 s when it changed, else every 5 min.

Admission puts a not-ready taint on a new Node. Where it may, the kubelet takes it away once the
node is ready, so that a cluster without a node life cycle controller is usable; where
NodeRestriction forbids it, the controller has to.

Source: pkg/kubelet/kubelet_node_status.go.
"""

import logging
from collections.abc import Awaitable, Callable

from kubelet.node_object import (
    NOT_READY_TAINT,
    NodeHealth,
    NodeIdentity,
    default_labels,
    is_ready,
    new_node,
    same_but_heartbeat,
    set_status,
)
from podpath.api.errors import ApiError
from podpath.api.scheme import NODES
from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from protos.k8s import core_v1_pb2 as core

log = logging.getLogger(__name__)

UPDATE_S = 10.0
REPORT_S = 300.0
RETRIES = 5
REGISTER_RETRY_S = 0.2
REGISTER_RETRY_MAX_S = 7.0


class NodeStatus:
    """The Node object of this kubelet."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        identity: NodeIdentity,
        health: Callable[[], Awaitable[NodeHealth]],
        *,
        update_s: float = UPDATE_S,
        report_s: float = REPORT_S,
        offset_s: float = 0.0,
    ) -> None:
        """`offset_s` shifts the updates, so that simulated nodes do not write all at once."""
        self._client = client
        self._clock = clock
        self.identity = identity
        self._health = health
        self._update_s = update_s
        self._report_s = report_s
        self._offset_s = offset_s
        self._reported_at = -report_s
        self._may_untaint = True
        self.node: core.Node | None = None

    async def register(self) -> None:
        """Creates the Node or takes over the one that is there. Tries until it succeeds."""
        delay = REGISTER_RETRY_S
        while True:
            try:
                await self._register_once()
            except ApiError as error:
                log.warning("node not registered", extra={"error": str(error)})
                await self._clock.sleep(delay)
                delay = min(delay * 2, REGISTER_RETRY_MAX_S)
            else:
                return

    async def _register_once(self) -> None:
        wanted = new_node(self.identity)
        set_status(wanted, self.identity, await self._health(), self._clock.now())
        try:
            self.node = await self._client.create(NODES, wanted)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            self.node = await self._client.get(NODES, "", self.identity.name)
            await self._reconcile_labels()
        log.info("node registered", extra={"node": self.identity.name})

    async def _reconcile_labels(self) -> None:
        assert self.node is not None
        wanted = default_labels(self.identity)
        present = self.node.metadata.labels
        if any(present.get(key) != value for key, value in wanted.items()):
            self.node.metadata.labels.update(wanted)
            self.node = await self._client.update(NODES, self.node)

    async def run(self) -> None:
        """Tells the status until cancelled. `register` comes first."""
        await self.update()
        if self._offset_s:
            await self._clock.sleep(self._offset_s)
        while True:
            await self._clock.sleep(self._update_s)
            await self.update()

    async def update(self) -> None:
        """One update, with retries; failures are logged."""
        for attempt in range(RETRIES):
            try:
                await self._update_once(fresh=attempt > 0)
            except ApiError as error:
                log.warning("node status not updated", extra={"error": str(error)})
                if error.reason == "NotFound":
                    # Somebody deleted the Node: it registers again.
                    self.node = None
                    await self.register()
                elif error.reason != "Conflict":
                    await self._clock.sleep(REGISTER_RETRY_S)
            else:
                return

    async def refresh(self) -> None:
        """Reads the Node anew. Raises: ApiError."""
        self.node = await self._client.get(NODES, "", self.identity.name)

    async def _update_once(self, *, fresh: bool) -> None:
        health = await self._health()
        if fresh or self.node is None:
            await self.refresh()
        assert self.node is not None
        changed = core.Node()
        changed.CopyFrom(self.node)
        set_status(changed, self.identity, health, self._clock.now())
        now = self._clock.monotonic()
        due = now - self._reported_at >= self._report_s
        if due or not same_but_heartbeat(changed.status, self.node.status):
            self.node = await self._client.update_status(NODES, changed)
            self._reported_at = now
        if self._may_untaint and is_ready(self.node) and _not_ready_taints(self.node):
            await self._clear_taint()

    async def _clear_taint(self) -> None:
        """Takes the taint that admission put on the new Node away, now that it is ready."""
        node = await self._client.get(NODES, "", self.identity.name)
        if not _not_ready_taints(node):
            self.node = node
            return
        kept = [t for t in node.spec.taints if t not in _not_ready_taints(node)]
        del node.spec.taints[:]
        node.spec.taints.extend(kept)
        try:
            self.node = await self._client.update(NODES, node)
        except ApiError as error:
            if error.reason != "Forbidden":
                raise
            # NodeRestriction keeps kubelets from their taints: a controller has to do it.
            self._may_untaint = False
            log.info("the not-ready taint is left to the controllers")


def _not_ready_taints(node: core.Node) -> list[core.Taint]:
    return [t for t in node.spec.taints if t.key == NOT_READY_TAINT and t.effect == "NoSchedule"]
