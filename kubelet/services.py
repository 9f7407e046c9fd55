"""The cluster's services, for the variables that containers get of them.

Source: pkg/kubelet/kubelet.go (serviceLister).
"""

import random

from podpath.api.scheme import SERVICES
from podpath.client.informer import Handlers, Informer
from podpath.client.interface import Reader, Selection
from podpath.component_base.clock import Clock
from protos.k8s import core_v1_pb2 as core


class Services:
    """All services that have an address."""

    def __init__(self, client: Reader, clock: Clock, rng: random.Random) -> None:
        self._informer = Informer(
            client,
            SERVICES,
            clock=clock,
            rng=rng,
            selection=Selection(field_selector="spec.clusterIP!=None"),
        )
        self._all: tuple[core.Service, ...] | None = None
        self._informer.add_handlers(Handlers(on_batch=self._changed))

    def _changed(self, _: object) -> None:
        self._all = None

    def all(self) -> tuple[core.Service, ...]:
        if self._all is None:
            self._all = tuple(self._informer.store.list())
        return self._all

    async def wait_synced(self) -> None:
        await self._informer.wait_synced()

    async def run(self) -> None:
        await self._informer.run()
