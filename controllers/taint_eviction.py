"""Deletes Pods that do not tolerate, or no longer tolerate, their node's NoExecute taints.

Source: k8s.io/kubernetes pkg/controller/tainteviction/taint_eviction.go.
"""

from controllers import node_decisions as decisions
from controllers.node_lifecycle import pods_by_node
from controllers.pods import is_finished, time_at
from controllers.reconciler import Context, Loop, Requeue
from podpath.api.errors import ApiError
from podpath.api.scheme import NODES, PODS
from podpath.client.event_recorder import NORMAL
from podpath.client.informer import Handlers, ObjectKey, key_of
from protos.k8s.core_v1_pb2 import Node, Pod, PodCondition
from protos.k8s.meta_v1_pb2 import DeleteOptions, Preconditions

NAME = "taint-eviction-controller"


class TaintEvictionController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(NAME)
        nodes = context.informers.informer(NODES)
        pods = context.informers.informer(PODS)
        pods.add_index("node", pods_by_node)
        self._nodes, self._pods = nodes.store, pods.store
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(nodes, pods)
        )
        nodes.add_handlers(
            Handlers(on_add=self._node_changed, on_update=lambda old, new: self._tainted(old, new))
        )
        pods.add_handlers(Handlers(self._assigned, self._pod_updated))

    async def run(self) -> None:
        await self._loop.run()

    def _tainted(self, old: Node, new: Node) -> None:
        if list(old.spec.taints) != list(new.spec.taints):
            self._node_changed(new)

    def _node_changed(self, node: Node) -> None:
        for pod in self._pods.by_index("node", node.metadata.name):
            self._loop.queue.add(key_of(pod))

    def _assigned(self, pod: Pod) -> None:
        """Most nodes have no such taint: nothing is queued for their Pods."""
        node = self._nodes.get("", pod.spec.nodeName) if pod.spec.nodeName else None
        if node is not None and any(t.effect == decisions.NO_EXECUTE for t in node.spec.taints):
            self._loop.queue.add(key_of(pod))

    def _pod_updated(self, old: Pod, new: Pod) -> None:
        if old.spec.nodeName != new.spec.nodeName or (
            len(old.spec.tolerations) != len(new.spec.tolerations)
        ):
            self._assigned(new)

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        pod = self._pods.get(*key)
        if pod is None or is_finished(pod) or pod.metadata.HasField("deletionTimestamp"):
            return None
        node = self._nodes.get("", pod.spec.nodeName)
        if node is None:
            return None
        now_s = self._clock.now().timestamp()
        after_s = decisions.decide_eviction(pod, node.spec.taints, now_s).after_s
        if after_s is None:
            return None
        if after_s > 0:
            return Requeue(after_s)
        await self._evict(pod, now_s)
        return None

    async def _evict(self, pod: Pod, now_s: float) -> None:
        meta = pod.metadata
        message = f"Marking for deletion Pod {meta.namespace}/{meta.name}"
        self._recorder.event(PODS, pod, NORMAL, "TaintManagerEviction", message)
        options = DeleteOptions(preconditions=Preconditions(uid=meta.uid))
        try:
            await self._client.update_status(PODS, _disrupted(pod, now_s))
            await self._client.delete(PODS, meta.namespace, meta.name, options)
        except ApiError as error:
            if error.reason != "NotFound":
                raise


def _disrupted(pod: Pod, now_s: float) -> Pod:
    """The Pod with the condition that tells why it is disrupted."""
    changed = Pod()
    changed.CopyFrom(pod)
    others = [c for c in pod.status.conditions if c.type != "DisruptionTarget"]
    del changed.status.conditions[:]
    changed.status.conditions.extend(others)
    changed.status.conditions.append(
        PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="DeletionByTaintManager",
            message="Taint manager: deleting due to NoExecute taint",
            lastTransitionTime=time_at(now_s),
        )
    )
    return changed
