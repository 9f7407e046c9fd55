"""What the watches tell, turned into changes of cache and queue.

Source: pkg/scheduler/eventhandlers.go.
"""

from podpath.client.informer import Handlers
from podpath.component_base.pod_trace import PodStep, stamp
from protos.k8s.core_v1_pb2 import Node, Pod
from scheduler.cache import Cache
from scheduler.queue import QueuedPod, SchedulingQueue

POD_SELECTOR = "status.phase!=Succeeded,status.phase!=Failed"
"""Finished Pods use nothing: the watch tells them as deleted."""

# Whose rejections a change of this kind can lift.
_NODE_ADDED = frozenset(
    ("NodeName", "NodeUnschedulable", "TaintToleration", "NodeAffinity", "NodeResourcesFit")
)
_POD_REMOVED = frozenset(("NodeResourcesFit",))


class EventHandlers:
    """Handlers for the informers of Pods and nodes; all run synchronously."""

    def __init__(self, cache: Cache, queue: SchedulingQueue, scheduler_name: str) -> None:
        self._cache = cache
        self._queue = queue
        self._scheduler_name = scheduler_name

    def for_pods(self) -> Handlers[Pod]:
        return Handlers(on_add=self.pod_added, on_update=self.pod_updated, on_delete=self.pod_gone)

    def for_nodes(self) -> Handlers[Node]:
        return Handlers(
            on_add=self.node_added, on_update=self.node_updated, on_delete=self.node_gone
        )

    def pod_added(self, pod: Pod) -> None:
        if pod.spec.nodeName:
            self._cache.add(pod)
        elif self._is_ours(pod):
            stamp(PodStep.SCHEDULER_SAW, pod.metadata.uid)
            self._queue.add(pod)

    def pod_updated(self, old: Pod, new: Pod) -> None:
        if new.spec.nodeName:
            if not old.spec.nodeName:
                self._queue.delete(new.metadata.uid)
            self._cache.add(new)
            if old.spec.nodeName and old.spec != new.spec:
                self._move(_POD_REMOVED)  # a resize may have freed something
        elif self._is_ours(new):
            if not self._cache.is_assumed(new.metadata.uid):
                self._queue.update(new)
        else:
            self._queue.delete(new.metadata.uid)

    def pod_gone(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        self._queue.delete(uid)
        if uid in self._cache:
            self._cache.remove(uid)
            self._move(_POD_REMOVED)

    def node_added(self, node: Node) -> None:
        self._cache.set_node(node)
        self._move(_NODE_ADDED)

    def node_updated(self, old: Node, new: Node) -> None:
        self._cache.set_node(new)
        plugins = _changed(old, new)
        if plugins:
            self._move(plugins)

    def node_gone(self, node: Node) -> None:
        self._cache.remove_node(node.metadata.name)

    def _is_ours(self, pod: Pod) -> bool:
        return pod.spec.schedulerName == self._scheduler_name and not pod.metadata.HasField(
            "deletionTimestamp"
        )

    def _move(self, plugins: frozenset[str]) -> None:
        def may_help(queued: QueuedPod) -> bool:
            return bool(queued.unschedulable_plugins & plugins)

        self._queue.move_all(may_help)


def _changed(old: Node, new: Node) -> frozenset[str]:
    """The plugins that could decide otherwise now; empty for a mere heartbeat."""
    plugins: set[str] = set()
    if old.status.allocatable != new.status.allocatable:
        plugins.add("NodeResourcesFit")
    if old.metadata.labels != new.metadata.labels:
        plugins.add("NodeAffinity")
    if old.spec != new.spec:
        plugins.update(("NodeUnschedulable", "TaintToleration"))
    return frozenset(plugins)
