"""Which Pods this node has: the API server's, by `spec.nodeName`.

A node watches its own Pods; simulated nodes of one process share one watch on all assigned Pods.

Source: pkg/kubelet/config/apiserver.go, pkg/kubelet/config/config.go.
"""

import random
from typing import Protocol

from podpath.api.scheme import PODS
from podpath.client.informer import Handlers, Informer
from podpath.client.interface import Reader, Selection
from podpath.component_base.clock import Clock
from protos.k8s import core_v1_pb2 as core


class PodReceiver(Protocol):
    """Who is told about a node's Pods. Calls are quick."""

    def pod_changed(self, pod: core.Pod) -> None:
        """It is new or has changed. The object is shared: read-only."""

    def pod_gone(self, pod: core.Pod) -> None:
        """The API server has it no more."""


class PodSource(Protocol):
    """Tells receivers about the Pods of their nodes."""

    def subscribe(self, node: str, receiver: PodReceiver) -> None:
        """Tells `receiver` from now on, what is there already first."""

    async def wait_synced(self) -> None:
        """Returns when all Pods that were there have been told."""

    async def run(self) -> None:
        """Until cancelled."""


def selection_of(node: str) -> Selection:
    return Selection(field_selector=f"spec.nodeName={node}")


class ApiPodSource:
    """One informer; receivers by node name. `selection` chooses one node's Pods or everybody's."""

    def __init__(
        self, client: Reader, selection: Selection, *, clock: Clock, rng: random.Random
    ) -> None:
        self._informer = Informer(client, PODS, clock=clock, rng=rng, selection=selection)
        self._receivers: dict[str, PodReceiver] = {}
        self._informer.add_handlers(
            Handlers(on_add=self._changed, on_update=self._updated, on_delete=self._gone)
        )

    def subscribe(self, node: str, receiver: PodReceiver) -> None:
        self._receivers[node] = receiver
        for pod in self._informer.store.list():
            if pod.spec.nodeName == node:
                receiver.pod_changed(pod)

    async def wait_synced(self) -> None:
        await self._informer.wait_synced()

    async def run(self) -> None:
        await self._informer.run()

    def _changed(self, pod: core.Pod) -> None:
        receiver = self._receivers.get(pod.spec.nodeName)
        if receiver is not None:
            receiver.pod_changed(pod)

    def _updated(self, _: core.Pod, pod: core.Pod) -> None:
        self._changed(pod)

    def _gone(self, pod: core.Pod) -> None:
        receiver = self._receivers.get(pod.spec.nodeName)
        if receiver is not None:
            receiver.pod_gone(pod)
