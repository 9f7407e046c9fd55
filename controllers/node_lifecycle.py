"""Notices nodes that fall silent: Ready becomes Unknown, taints follow, Pods become not ready.

A node lives as long as its Lease or its status changes. Ages are counted from when this process
saw the change, never from the node's own clock.

Source: k8s.io/kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go.
"""

import logging
from dataclasses import dataclass

from controllers import node_decisions as decisions
from controllers.ownership import modify
from controllers.pods import is_finished, is_ready, time_at
from controllers.reconciler import Context
from podpath.api.errors import ApiError
from podpath.api.scheme import LEASES, NODES, PODS
from podpath.client.event_recorder import NORMAL, WARNING
from podpath.client.informer import Handlers
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.core_v1_pb2 import Node, Pod

log = logging.getLogger(__name__)

NAME = "node-lifecycle-controller"
EVENT_SOURCE = "node-controller"
LEASE_NAMESPACE = "kube-node-lease"


@dataclass(slots=True)
class _Sign:
    """The last sign of life of one node."""

    at: float
    has_spoken: bool


class NodeLifecycleController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._settings = context.settings
        self._recorder = context.recorder(EVENT_SOURCE)
        self._signs: dict[str, _Sign] = {}
        self._nodes = context.informers.informer(NODES)
        self._pods = context.informers.informer(PODS)
        self._pods.add_index("node", pods_by_node)
        self._leases = context.informers.informer(LEASES)
        self._leases.add_handlers(
            Handlers(on_add=self._renewed, on_update=lambda _, new: self._renewed(new))
        )
        self._nodes.add_handlers(
            Handlers(
                on_add=self._node_added, on_update=self._node_updated, on_delete=self._node_deleted
            )
        )

    async def run(self) -> None:
        for informer in (self._nodes, self._pods, self._leases):
            await informer.wait_synced()
        while True:
            for node in self._nodes.store.list():
                try:
                    await self._look_at(node)
                except ApiError as error:
                    # The next round looks again.
                    extra = {"node": node.metadata.name, "error": str(error)}
                    log.warning("node not updated", extra=extra)
            await self._clock.sleep(self._settings.node_monitor_period_s)

    # Signs of life

    def _renewed(self, lease: Lease) -> None:
        if lease.metadata.namespace == LEASE_NAMESPACE:
            self._signs[lease.metadata.name] = _Sign(self._clock.monotonic(), True)

    def _node_added(self, node: Node) -> None:
        spoken = decisions.condition_of(node, "Ready") is not None
        self._signs.setdefault(node.metadata.name, _Sign(self._clock.monotonic(), spoken))
        self._tell(
            node, NORMAL, "RegisteredNode", f"Registered Node {node.metadata.name} in Controller"
        )

    def _node_updated(self, old: Node, new: Node) -> None:
        if _heartbeat(old) != _heartbeat(new):
            self._signs[new.metadata.name] = _Sign(self._clock.monotonic(), True)

    def _node_deleted(self, node: Node) -> None:
        self._signs.pop(node.metadata.name, None)
        self._tell(
            node, NORMAL, "RemovingNode", f"Removing Node {node.metadata.name} from Controller"
        )

    def _is_silent(self, name: str) -> bool:
        now = self._clock.monotonic()
        sign = self._signs.setdefault(name, _Sign(now, False))
        grace = (
            self._settings.node_monitor_grace_period_s
            if sign.has_spoken
            else self._settings.node_startup_grace_period_s
        )
        return now - sign.at > grace

    # Judgement

    async def _look_at(self, node: Node) -> None:
        now_s = self._clock.now().timestamp()
        current: Node | None = node
        if self._is_silent(node.metadata.name):
            current = await self._mark_unknown(node, now_s)
        if current is None:
            return
        await self._taint(current, now_s)
        ready = decisions.condition_of(current, "Ready")
        if ready is not None and ready.status != "True":
            await self._mark_pods_not_ready(current, now_s)

    async def _mark_unknown(self, node: Node, now_s: float) -> Node | None:
        probe = Node()
        probe.CopyFrom(node)
        if not decisions.mark_unknown(probe, now_s):
            return node
        log.warning("node is silent", extra={"node": node.metadata.name})
        self._tell(
            node,
            NORMAL,
            "NodeNotReady",
            f"Node {node.metadata.name} status is now: NodeNotReady",
        )
        return await modify(
            self._client,
            NODES,
            node.metadata,
            lambda live: decisions.mark_unknown(live, now_s),
            subresource="status",
        )

    async def _taint(self, node: Node, now_s: float) -> None:
        def change(live: Node) -> bool:
            wanted = decisions.wanted_taints(live, now_s)
            if decisions.same_taints(live.spec.taints, wanted):
                return False
            del live.spec.taints[:]
            live.spec.taints.extend(wanted)
            return True

        if not decisions.same_taints(node.spec.taints, decisions.wanted_taints(node, now_s)):
            await modify(self._client, NODES, node.metadata, change)

    async def _mark_pods_not_ready(self, node: Node, now_s: float) -> None:
        for pod in self._pods.store.by_index("node", node.metadata.name):
            if is_finished(pod) or not is_ready(pod):
                continue
            changed = Pod()
            changed.CopyFrom(pod)
            for condition in changed.status.conditions:
                if condition.type == "Ready":
                    condition.status = "False"
                    condition.lastTransitionTime.CopyFrom(time_at(now_s))
            try:
                await self._client.update_status(PODS, changed)
            except ApiError as error:
                if error.reason not in ("Conflict", "NotFound"):
                    raise
                continue
            self._recorder.event(PODS, pod, WARNING, "NodeNotReady", "Node is not ready")

    def _tell(self, node: Node, event_type: str, reason: str, message: str) -> None:
        self._recorder.event(NODES, node, event_type, reason, message)


def pods_by_node(pod: Pod) -> tuple[str, ...]:
    """Index function: the node that the Pod is assigned to."""
    return (pod.spec.nodeName,) if pod.spec.nodeName else ()


def _heartbeat(node: Node) -> int:
    ready = decisions.condition_of(node, "Ready")
    return ready.lastHeartbeatTime.seconds if ready is not None else 0
