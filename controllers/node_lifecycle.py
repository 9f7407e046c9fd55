"""Notices nodes that fall silent: Ready becomes Unknown, taints follow, Pods become not ready.

A node lives as long as its Lease or its status changes. Ages are counted from when this process
saw the change, never from the node's own clock.

    Node event ────> NoSchedule taints, at once (`_reconcile_schedule_taints`)
    every 5 s ─────> 1 conditions of silent nodes  2 state of the zones (`node_zones.py`)
                     3 NoExecute taints: removed or swapped now, added by `node_tainter.py` in time

Source: k8s.io/kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from controllers import node_decisions as decisions
from controllers.node_decisions import ExecuteChange
from controllers.node_tainter import NoExecuteTainter
from controllers.node_zones import Zone, ZoneState, decide_disruption, health_of, zone_of
from controllers.ownership import modify
from controllers.pods import is_finished, is_ready, time_at
from controllers.reconciler import Context, Loop
from podpath.api.errors import ApiError
from podpath.api.scheme import LEASES, NODES, PODS
from podpath.client.event_recorder import NORMAL, WARNING
from podpath.client.informer import Handlers, ObjectKey, key_of
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.core_v1_pb2 import Node, Pod, Taint

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
        self._zone_states: dict[Zone, ZoneState] = {}
        self._tainter = NoExecuteTainter(
            self._add_execute_taint, self._settings.eviction_rates.normal, clock=context.clock
        )
        self._nodes = context.informers.informer(NODES)
        self._pods = context.informers.informer(PODS)
        self._pods.add_index("node", pods_by_node)
        self._leases = context.informers.informer(LEASES)
        self._leases.add_handlers(
            Handlers(on_add=self._renewed, on_update=lambda _, new: self._renewed(new))
        )
        self._schedule_taints: Loop[ObjectKey] = Loop(
            NAME, self._reconcile_schedule_taints, clock=context.clock, wait_for=(self._nodes,)
        )
        self._nodes.add_handlers(
            Handlers(
                on_add=self._node_added, on_update=self._node_updated, on_delete=self._node_deleted
            )
        )

    async def run(self) -> None:
        for informer in (self._nodes, self._pods, self._leases):
            await informer.wait_synced()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._schedule_taints.run(), name=f"{NAME}-no-schedule")
            tasks.create_task(self._tainter.run(), name=f"{NAME}-no-execute")
            tasks.create_task(self._monitor(), name=f"{NAME}-monitor")

    async def _monitor(self) -> None:
        while True:
            nodes = await self._for_each(self._nodes.store.list(), self._judge)
            await self._handle_disruption(nodes)
            await self._for_each(nodes, self._follow)
            await self._clock.sleep(self._settings.node_monitor_period_s)

    async def _for_each(
        self, nodes: Iterable[Node], look_at: Callable[[Node], Awaitable[Node | None]]
    ) -> list[Node]:
        """What `look_at` made of them; without those that are gone or could not be looked at."""
        found = []
        for node in nodes:
            try:
                current = await look_at(node)
            except ApiError as error:
                extra = {"node": node.metadata.name, "error": str(error)}
                log.warning("node not updated", extra=extra)
                continue
            if current is not None:
                found.append(current)
        return found

    # Signs of life

    def _renewed(self, lease: Lease) -> None:
        if lease.metadata.namespace == LEASE_NAMESPACE:
            self._signs[lease.metadata.name] = _Sign(self._clock.monotonic(), True)

    def _node_added(self, node: Node) -> None:
        spoken = decisions.condition_of(node, "Ready") is not None
        self._signs.setdefault(node.metadata.name, _Sign(self._clock.monotonic(), spoken))
        self._schedule_taints.queue.add(key_of(node))
        self._tell(
            node, NORMAL, "RegisteredNode", f"Registered Node {node.metadata.name} in Controller"
        )

    def _node_updated(self, old: Node, new: Node) -> None:
        if _heartbeat(old) != _heartbeat(new):
            self._signs[new.metadata.name] = _Sign(self._clock.monotonic(), True)
        self._schedule_taints.queue.add(key_of(new))

    def _node_deleted(self, node: Node) -> None:
        self._signs.pop(node.metadata.name, None)
        self._tainter.remove(node.metadata.name)
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

    async def _judge(self, node: Node) -> Node | None:
        """1. The node with the conditions that its silence demands."""
        if not self._is_silent(node.metadata.name):
            return node
        now_s = self._clock.now().timestamp()
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

    async def _handle_disruption(self, nodes: list[Node]) -> None:
        """2. How fast each zone's nodes may be tainted."""
        zones = health_of(nodes)
        found = decide_disruption(self._zone_states, zones, self._settings.eviction_rates)
        for zone, state in found.states.items():
            if state is not self._zone_states.get(zone):
                extra = {"region": zone.region, "zone": zone.zone, "state": state.value}
                log.info("zone changed its state", extra=extra)
        self._zone_states = dict(found.states)
        self._tainter.set_rates(found.rates)
        if found.all_lost:
            log.warning("no node is Ready: nothing is evicted")
            await self._for_each(nodes, self._remove_execute_taint)
        if found.regained:
            log.info("a node is Ready again: the others get a new grace period")
            for sign in self._signs.values():
                sign.at = self._clock.monotonic()

    async def _follow(self, node: Node) -> Node:
        """3. What the node's condition means for its Pods."""
        name = node.metadata.name
        match decisions.execute_change(node):
            case ExecuteChange.ADD:
                self._tainter.add(zone_of(node), name)
            case ExecuteChange.REMOVE | ExecuteChange.SWAP:
                await self._set_execute_taint(node)
        ready = decisions.condition_of(node, "Ready")
        if ready is not None and ready.status == "True":
            self._tainter.remove(name)
        elif ready is not None:
            await self._mark_pods_not_ready(node, self._clock.now().timestamp())
        return node

    # Taints

    async def _reconcile_schedule_taints(self, key: ObjectKey) -> None:
        node = self._nodes.store.get(*key)
        if node is None:
            return
        if not decisions.same_taints(node.spec.taints, decisions.schedule_taints(node)):
            await self._write_taints(node, decisions.schedule_taints)

    async def _add_execute_taint(self, name: str) -> None:
        """When the node's turn has come: it may be gone or back by now.

        What the cache has may be older than the conditions that were written a moment ago.
        """
        node = self._nodes.store.get("", name)
        if node is not None:
            await self._set_execute_taint(node)

    async def _set_execute_taint(self, node: Node) -> None:
        now_s = self._clock.now().timestamp()
        await self._write_taints(node, lambda live: decisions.execute_taints(live, now_s))

    async def _remove_execute_taint(self, node: Node) -> None:
        self._tainter.remove(node.metadata.name)
        if decisions.without_execute_taints(node) != list(node.spec.taints):
            await self._write_taints(node, decisions.without_execute_taints)

    async def _write_taints(self, node: Node, wanted: Callable[[Node], list[Taint]]) -> None:
        """Decides anew on what is stored now."""

        def change(live: Node) -> bool:
            taints = wanted(live)
            if decisions.same_taints(live.spec.taints, taints):
                return False
            del live.spec.taints[:]
            live.spec.taints.extend(taints)
            return True

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
