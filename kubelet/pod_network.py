"""The node's place in the Pod network: its own range goes to the runtime, others' become routes.

    Node.spec.podCIDR                  -> UpdateRuntimeConfig
    ConfigMap kube-system/podpath-pod-routes -> the kernel's routes (--pod-routes)

Source: pkg/kubelet/kubelet_network.go (updatePodCIDR). Routes are podpath's own, see
docs/adr/0003-routes-between-nodes.md.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from kubelet.cri_client import Cri, CriError
from kubelet.routes import Route, RouteError
from podpath.api.scheme import CONFIGMAPS, NODES
from podpath.client.informer import Handlers, Informer
from podpath.client.interface import Reader, Selection
from podpath.component_base.clock import Clock
from protos.cri import runtime_v1_pb2 as cri
from protos.k8s.core_v1_pb2 import ConfigMap, Node

log = logging.getLogger(__name__)

NAMESPACE, CONFIG_MAP = "kube-system", "podpath-pod-routes"
RETRY_S = 2.0
CHECK_S = 10.0


class RouteTable(Protocol):
    """The kernel's routes that are ours. Raises: RouteError."""

    def list(self) -> Sequence[Route]: ...

    def replace(self, route: Route) -> None: ...

    def delete(self, route: Route) -> None: ...


class PodRange:
    """Tells the runtime the node's range of Pod addresses, whenever it is (first) known."""

    def __init__(
        self,
        client: Reader,
        runtime: Cri,
        node: str,
        changed: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """`changed` is called once the runtime knows: the node may be Ready now."""
        self._runtime = runtime
        self._changed = changed
        self._clock = clock
        self._wanted = ""
        self._told = ""
        self._news = asyncio.Event()
        self.informer: Informer[Node] = Informer(
            client,
            NODES,
            clock=clock,
            rng=rng,
            selection=Selection(field_selector=f"metadata.name={node}"),
        )
        self.informer.add_handlers(
            Handlers(on_add=self._seen, on_update=lambda _, new: self._seen(new))
        )

    def _seen(self, node: Node) -> None:
        if node.spec.podCIDR and node.spec.podCIDR != self._wanted:
            self._wanted = ",".join(node.spec.podCIDRs) or node.spec.podCIDR
            self._news.set()

    async def run(self) -> None:
        """Until cancelled; `informer.run` must run."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._tell()
            except CriError as error:
                log.warning("the runtime did not take the range", extra={"error": str(error)})
                await self._clock.sleep(RETRY_S)
                self._news.set()

    async def _tell(self) -> None:
        wanted = self._wanted
        if wanted == self._told:
            return
        request = cri.UpdateRuntimeConfigRequest()
        request.runtime_config.network_config.pod_cidr = wanted
        await self._runtime.UpdateRuntimeConfig(request)
        self._told = wanted
        log.info("pod range", extra={"cidr": wanted})
        await self._changed()


def decide(
    wanted: Mapping[str, str], node: str, present: Sequence[Route]
) -> tuple[list[Route], list[Route]]:
    """(to set, to delete): `wanted` is the ConfigMap's data, `node` ourselves."""
    routes = {}
    for name, text in wanted.items():
        cidr, _, gateway = text.partition(" ")
        if name != node and cidr and gateway:
            routes[cidr] = Route(cidr, gateway)
    missing = [route for route in routes.values() if route not in present]
    stale = [route for route in present if route.cidr not in routes]
    return missing, stale


class PodRoutes:
    """Keeps the kernel's routes to other nodes' Pods equal to what is published."""

    def __init__(
        self, client: Reader, table: RouteTable, node: str, *, clock: Clock, rng: random.Random
    ) -> None:
        self._table = table
        self._node = node
        self._news = asyncio.Event()
        self.informer: Informer[ConfigMap] = Informer(
            client,
            CONFIGMAPS,
            clock=clock,
            rng=rng,
            selection=Selection(NAMESPACE, field_selector=f"metadata.name={CONFIG_MAP}"),
        )
        self.informer.add_handlers(Handlers(on_batch=lambda _: self._news.set()))

    async def run(self) -> None:
        """Until cancelled; looks every 10 s whether somebody else removed a route."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._news.wait()
            self._news.clear()
            published = self.informer.store.get(NAMESPACE, CONFIG_MAP)
            if published is None:
                continue
            try:
                self._apply(published)
            except RouteError as error:
                log.warning("routes not set", extra={"error": str(error)})

    def _apply(self, published: ConfigMap) -> None:
        missing, stale = decide(published.data, self._node, self._table.list())
        for route in stale:
            self._table.delete(route)
        for route in missing:
            self._table.replace(route)
        if missing or stale:
            log.info("routes changed", extra={"set": len(missing), "removed": len(stale)})
