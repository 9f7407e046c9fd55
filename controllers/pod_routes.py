"""Publishes where every node's Pods are, for the nodes: ConfigMap kube-system/podpath-pod-routes.

    data:  NODE: "POD_CIDR NODE_IP"

A kubelet may read no Node but its own; this is all that it needs of the others, and it changes only
when nodes come and go. See docs/adr/0003-routes-between-nodes.md.
"""

from collections.abc import Iterable

from controllers.ownership import modify
from controllers.reconciler import Context, Loop, Requeue
from podpath.api.errors import ApiError
from podpath.api.scheme import CONFIGMAPS, NODES
from podpath.client.informer import Handlers
from protos.k8s.core_v1_pb2 import ConfigMap, Node

NAME = "pod-route-publisher"
NAMESPACE, CONFIG_MAP = "kube-system", "podpath-pod-routes"


def routes_of(nodes: Iterable[Node]) -> dict[str, str]:
    """Node -> `POD_CIDR NODE_IP`, of those that have both."""
    found = {}
    for node in nodes:
        address = next((a.address for a in node.status.addresses if a.type == "InternalIP"), "")
        if node.spec.podCIDR and address:
            found[node.metadata.name] = f"{node.spec.podCIDR} {address}"
    return found


class PodRoutePublisher:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        nodes = context.informers.informer(NODES)
        self._nodes = nodes.store
        self._published: dict[str, str] | None = None
        self._loop: Loop[str] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(nodes,), workers=1
        )
        nodes.add_handlers(Handlers(on_batch=lambda _: self._look()))

    async def run(self) -> None:
        self._loop.queue.add(CONFIG_MAP)
        await self._loop.run()

    def _look(self) -> None:
        """Heartbeats change no route."""
        if routes_of(self._nodes.list()) != self._published:
            self._loop.queue.add(CONFIG_MAP)

    async def reconcile(self, _: str) -> Requeue | None:
        wanted = routes_of(self._nodes.list())
        try:
            present = await self._client.get(CONFIGMAPS, NAMESPACE, CONFIG_MAP)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            present = ConfigMap(data=wanted)
            present.metadata.namespace, present.metadata.name = NAMESPACE, CONFIG_MAP
            await self._client.create(CONFIGMAPS, present)
        else:
            await modify(
                self._client, CONFIGMAPS, present.metadata, lambda live: _set(live, wanted)
            )
        self._published = wanted
        return None


def _set(config_map: ConfigMap, wanted: dict[str, str]) -> bool:
    if dict(config_map.data) == wanted:
        return False
    config_map.data.clear()
    config_map.data.update(wanted)
    return True
