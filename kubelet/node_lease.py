"""The node's heartbeat: a Lease of 40 s, renewed every 10 s.

Source: pkg/kubelet/kubelet.go, k8s.io/component-helpers apimachinery/lease/controller.go.
"""

import logging
from collections.abc import Callable

from podpath.api.errors import ApiError
from podpath.api.scheme import LEASES
from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from protos.k8s.coordination_v1_pb2 import Lease
from protos.k8s.core_v1_pb2 import Node
from protos.k8s.meta_v1_pb2 import MicroTime

log = logging.getLogger(__name__)

NAMESPACE = "kube-node-lease"
DURATION_S = 40
RENEW_S = 10.0
RETRIES = 5
RETRY_S = 0.1


class NodeLease:
    """Keeps one node's Lease fresh."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        name: str,
        node: Callable[[], Node | None],
        *,
        duration_s: int = DURATION_S,
        offset_s: float = 0.0,
    ) -> None:
        """`node` gives the Node that owns the Lease; `offset_s` shifts the renewals."""
        self._client = client
        self._clock = clock
        self._name = name
        self._node = node
        self._duration_s = duration_s
        self._offset_s = offset_s
        self._lease: Lease | None = None

    async def run(self) -> None:
        """Renews until cancelled."""
        await self.renew()
        if self._offset_s:
            await self._clock.sleep(self._offset_s)
        while True:
            await self._clock.sleep(self._duration_s * 0.25)
            await self.renew()

    async def renew(self) -> None:
        """One renewal, with retries; failures are logged."""
        for _ in range(RETRIES):
            try:
                await self._renew_once()
            except ApiError as error:
                log.info("lease not renewed", extra={"node": self._name, "error": str(error)})
                self._lease = None
                await self._clock.sleep(RETRY_S)
            else:
                return
        log.warning("gave up renewing the lease for now", extra={"node": self._name})

    async def _renew_once(self) -> None:
        if self._lease is None:
            try:
                self._lease = await self._client.get(LEASES, NAMESPACE, self._name)
            except ApiError as error:
                if error.reason != "NotFound":
                    raise
                self._lease = await self._client.create(LEASES, self._renewed(Lease()))
                return
        self._lease = await self._client.update(LEASES, self._renewed(self._lease))

    def _renewed(self, lease: Lease) -> Lease:
        fresh = Lease()
        fresh.CopyFrom(lease)
        fresh.metadata.name, fresh.metadata.namespace = self._name, NAMESPACE
        node = self._node()
        if not fresh.metadata.ownerReferences and node is not None and node.metadata.uid:
            fresh.metadata.ownerReferences.add(
                apiVersion="v1", kind="Node", name=self._name, uid=node.metadata.uid
            )
        fresh.spec.holderIdentity = self._name
        fresh.spec.leaseDurationSeconds = self._duration_s
        now = self._clock.now()
        stamp = MicroTime(seconds=int(now.timestamp()), nanos=now.microsecond * 1000)
        fresh.spec.renewTime.CopyFrom(stamp)
        return fresh
