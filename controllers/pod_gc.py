"""Removes Pods that nobody else will: ended long ago, left by a vanished node, never scheduled.

Source: k8s.io/kubernetes pkg/controller/podgc/gc_controller.go.
"""

import logging
from collections.abc import Collection, Sequence

from controllers.pods import is_finished, time_at
from controllers.reconciler import Context
from podpath.api.errors import ApiError
from podpath.api.scheme import NODES, PODS
from protos.k8s.core_v1_pb2 import Pod, PodCondition
from protos.k8s.meta_v1_pb2 import DeleteOptions, Preconditions

log = logging.getLogger(__name__)

NAME = "pod-garbage-collector-controller"
PERIOD_S = 20.0
# How long a node must be missing before its Pods count as orphans.
NODE_QUARANTINE_S = 40.0


def surplus_terminated(pods: Sequence[Pod], threshold: int) -> list[Pod]:
    """The oldest finished Pods beyond the threshold; evicted ones go first. 0 keeps all."""
    finished = [pod for pod in pods if is_finished(pod)]
    if threshold <= 0 or len(finished) <= threshold:
        return []
    finished.sort(
        key=lambda pod: (
            pod.status.reason != "Evicted",
            pod.metadata.creationTimestamp.seconds,
            pod.metadata.name,
        )
    )
    return finished[: len(finished) - threshold]


def unscheduled_terminating(pods: Sequence[Pod]) -> list[Pod]:
    """Pods that are being deleted and have no node: no kubelet will end them."""
    return [
        pod for pod in pods if pod.metadata.HasField("deletionTimestamp") and not pod.spec.nodeName
    ]


def orphaned(pods: Sequence[Pod], gone: Collection[str]) -> list[Pod]:
    """Pods of nodes that are gone for good."""
    return [pod for pod in pods if pod.spec.nodeName and pod.spec.nodeName in gone]


class PodGarbageCollector:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._threshold = context.settings.terminated_pod_gc_threshold
        self._pods_informer = context.informers.informer(PODS)
        self._nodes_informer = context.informers.informer(NODES)
        self._missing_since: dict[str, float] = {}

    async def run(self) -> None:
        await self._pods_informer.wait_synced()
        await self._nodes_informer.wait_synced()
        while True:
            await self.collect()
            await self._clock.sleep(PERIOD_S)

    async def collect(self) -> None:
        """One round over all Pods."""
        pods = self._pods_informer.store.list()
        gone = await self._gone_nodes({p.spec.nodeName for p in pods if p.spec.nodeName})
        for pod in surplus_terminated(pods, self._threshold):
            await self._delete(pod, "terminated")
        for pod in orphaned(pods, gone):
            message = "PodGC: node no longer exists"
            await self._delete(pod, "orphaned", message)
        for pod in unscheduled_terminating(pods):
            await self._delete(pod, "unscheduled")

    async def _gone_nodes(self, used: Collection[str]) -> set[str]:
        """Nodes that Pods name and that have been missing for long, also at the server itself."""
        now = self._clock.monotonic()
        nodes = self._nodes_informer.store
        missing = {name for name in used if nodes.get("", name) is None}
        self._missing_since = {name: self._missing_since.get(name, now) for name in missing}
        return {
            name
            for name, since in self._missing_since.items()
            if now - since >= NODE_QUARANTINE_S and not await self._exists(name)
        }

    async def _exists(self, node: str) -> bool:
        try:
            await self._client.get(NODES, "", node)
        except ApiError as error:
            return error.reason != "NotFound"
        return True

    async def _delete(self, pod: Pod, why: str, disruption: str = "") -> None:
        """Deletes at once. A Pod that had not ended is marked Failed first, as a record for who
        owns it; `disruption` says why it was disrupted."""
        meta = pod.metadata
        fields = {"pod": f"{meta.namespace}/{meta.name}", "why": why}
        try:
            if not is_finished(pod):
                await self._client.update_status(PODS, self._failed(pod, disruption))
            options = DeleteOptions(gracePeriodSeconds=0, preconditions=Preconditions(uid=meta.uid))
            await self._client.delete(PODS, meta.namespace, meta.name, options)
            log.info("pod collected", extra=fields)
        except ApiError as error:
            # The next round tries again.
            if error.reason not in ("NotFound", "Conflict"):
                log.warning("pod not collected", extra=fields | {"error": str(error)})

    def _failed(self, pod: Pod, disruption: str) -> Pod:
        failed = Pod()
        failed.CopyFrom(pod)
        failed.status.phase = "Failed"
        if disruption:
            others = [c for c in pod.status.conditions if c.type != "DisruptionTarget"]
            del failed.status.conditions[:]
            failed.status.conditions.extend(others)
            failed.status.conditions.append(
                PodCondition(
                    type="DisruptionTarget",
                    status="True",
                    reason="DeletionByPodGC",
                    message=disruption,
                    lastTransitionTime=time_at(self._clock.now().timestamp()),
                )
            )
        return failed
