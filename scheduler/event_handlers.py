"""What the watches tell, turned into changes of cache and queue.

Source: pkg/scheduler/eventhandlers.go, pkg/scheduler/framework/events.go.
"""

from collections.abc import Callable, Container
from typing import Any

from podpath.api import scheme
from podpath.api.scheme import Resource
from podpath.client.informer import Handlers
from podpath.component_base.pod_trace import PodStep, stamp
from protos.k8s.core_v1_pb2 import Node, Pod
from scheduler.cache import Cache
from scheduler.framework.events import Action, ClusterEvent
from scheduler.nominator import Nominator
from scheduler.pod_info import PodInfo
from scheduler.queue import SchedulingQueue

POD_SELECTOR = "status.phase!=Succeeded,status.phase!=Failed"
"""Finished Pods use nothing: the watch tells them as deleted."""


class EventHandlers:
    """Handlers for the informers; all run synchronously."""

    def __init__(
        self,
        cache: Cache,
        queue: SchedulingQueue,
        nominator: Nominator,
        scheduler_names: Container[str],
        end_waiting: Callable[[str], None],
    ) -> None:
        """`end_waiting` is told the uid of a Pod that is gone: no Permit plugin need hold it."""
        self._cache = cache
        self._queue = queue
        self._nominator = nominator
        self._scheduler_names = scheduler_names
        self._end_waiting = end_waiting

    def for_pods(self) -> Handlers[Pod]:
        return Handlers(on_add=self.pod_added, on_update=self.pod_updated, on_delete=self.pod_gone)

    def for_nodes(self) -> Handlers[Node]:
        return Handlers(
            on_add=self.node_added, on_update=self.node_updated, on_delete=self.node_gone
        )

    def for_others(self, resource: Resource[Any]) -> Handlers[Any]:
        """Storage, namespaces, services: their changes may only wake Pods."""

        def tell(action: Action, old: Any, new: Any) -> None:
            self._queue.move(ClusterEvent(resource, action, old, new))

        return Handlers(
            on_add=lambda new: tell(Action.ADD, None, new),
            on_update=lambda old, new: tell(Action.OTHER_UPDATE, old, new),
            on_delete=lambda old: tell(Action.DELETE, old, None),
        )

    def pod_added(self, pod: Pod) -> None:
        if pod.spec.nodeName:
            self._placed(pod)
        elif self._is_ours(pod):
            meta = pod.metadata
            stamp(PodStep.SCHEDULER_SAW, meta.uid, annotations=meta.annotations)
            if pod.status.nominatedNodeName:
                self._nominator.add(PodInfo(pod), pod.status.nominatedNodeName)
            self._queue.add(pod)

    def pod_updated(self, old: Pod, new: Pod) -> None:
        uid = new.metadata.uid
        if new.spec.nodeName:
            if not old.spec.nodeName:
                self._nominator.remove(uid)
                self._queue.delete(uid)
            self._placed(new)
        elif not self._is_ours(new):
            self._nominator.remove(uid)
            self._queue.delete(uid)
        elif self._cache.is_assumed(uid):
            self._queue.note_update(new)
        else:
            self._nominator.update(old, PodInfo(new))
            self._queue.update(new)

    def _placed(self, pod: Pod) -> None:
        """A Pod on a node: new there, or changed. It may attract or repel, or use less now."""
        was_assumed = self._cache.is_assumed(pod.metadata.uid)
        old = self._cache.add(pod)
        new = self._cache.placed(pod.metadata.uid)
        if old is None or was_assumed:
            self._queue.move(ClusterEvent(scheme.PODS, Action.ADD, None, new))
        elif new is not None and new is not old:
            action = Action.NONE
            if old.labels != new.labels:
                action |= Action.POD_LABELS
            if old.request != new.request:
                action |= Action.POD_SCALE_DOWN
            if action:
                self._queue.move(ClusterEvent(scheme.PODS, action, old, new))

    def pod_gone(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        self._queue.delete(uid)
        self._end_waiting(uid)
        claimed = self._nominator.node_of(uid)
        self._nominator.remove(uid)
        old = self._cache.remove(uid)
        if old is None and claimed:
            old = PodInfo(pod).on(claimed)  # what it was promised is free for others now
        if old is not None:
            self._queue.move(ClusterEvent(scheme.PODS, Action.DELETE, old, None))

    def node_added(self, node: Node) -> None:
        self._cache.set_node(node)
        self._queue.move(ClusterEvent(scheme.NODES, Action.ADD, None, node))

    def node_updated(self, old: Node, new: Node) -> None:
        action = node_changes(old, new)
        if action:
            self._cache.set_node(new)
            self._queue.move(ClusterEvent(scheme.NODES, action, old, new))

    def node_gone(self, node: Node) -> None:
        self._cache.remove_node(node.metadata.name)
        self._queue.move(ClusterEvent(scheme.NODES, Action.DELETE, node, None))

    def _is_ours(self, pod: Pod) -> bool:
        return pod.spec.schedulerName in self._scheduler_names and not pod.metadata.HasField(
            "deletionTimestamp"
        )


def node_changes(old: Node, new: Node) -> Action:
    """What scheduling could see of the change; nothing for a mere heartbeat."""
    action = Action.NONE
    if dict(old.status.allocatable.items()) != dict(new.status.allocatable.items()):
        action |= Action.NODE_ALLOCATABLE
    if dict(old.metadata.labels) != dict(new.metadata.labels):
        action |= Action.NODE_LABELS
    if old.spec.unschedulable != new.spec.unschedulable or list(old.spec.taints) != list(
        new.spec.taints
    ):
        action |= Action.NODE_TAINTS
    if dict(old.metadata.annotations) != dict(new.metadata.annotations):
        action |= Action.NODE_ANNOTATIONS
    if list(old.status.images) != list(new.status.images):
        action |= Action.OTHER_UPDATE
    return action
