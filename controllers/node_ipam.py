"""Gives every node a range of Pod addresses of its own: `spec.podCIDR`.

Source: k8s.io/kubernetes pkg/controller/nodeipam/ipam/range_allocator.go, cidrset/cidr_set.go.
"""

import ipaddress
import logging
from collections.abc import Collection

from controllers.ownership import modify
from controllers.reconciler import Context, Loop, Requeue
from podpath.api.scheme import NODES
from podpath.client.event_recorder import NORMAL
from podpath.client.informer import Handlers, ObjectKey, key_of
from protos.k8s.core_v1_pb2 import Node

log = logging.getLogger(__name__)

NAME = "node-ipam-controller"
EVENT_SOURCE = "cidrAllocator"
_FULL_WAIT_S = 30.0

Network = ipaddress.IPv4Network


def first_free(cluster: Network, mask: int, used: Collection[str]) -> str:
    """The lowest subnet of that size that none of `used` overlaps; "" when all are taken.

    `used` are the nodes' ranges, mostly of the same size: those are looked up, not compared.
    """
    others = [Network(cidr) for cidr in used if not cidr.endswith(f"/{mask}")]
    for subnet in cluster.subnets(new_prefix=mask):
        text = str(subnet)
        if text not in used and not any(subnet.overlaps(other) for other in others):
            return text
    return ""


class NodeIpam:
    """One worker: two nodes never choose at the same time."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder(EVENT_SOURCE)
        self._cluster = Network(context.settings.cluster_cidr)
        self._mask = context.settings.node_cidr_mask_size
        # What was given and may not have come back through the informer yet.
        self._given: dict[str, str] = {}
        nodes = context.informers.informer(NODES)
        self._nodes = nodes.store
        self._loop: Loop[ObjectKey] = Loop(
            NAME, self.reconcile, clock=context.clock, wait_for=(nodes,), workers=1
        )
        nodes.add_handlers(
            Handlers(self._enqueue, lambda _, new: self._enqueue(new), self._node_deleted)
        )

    async def run(self) -> None:
        await self._loop.run()

    def _enqueue(self, node: Node) -> None:
        if node.spec.podCIDR:
            self._given.pop(node.metadata.uid, None)
        else:
            self._loop.queue.add(key_of(node))

    def _node_deleted(self, node: Node) -> None:
        self._given.pop(node.metadata.uid, None)

    async def reconcile(self, key: ObjectKey) -> Requeue | None:
        node = self._nodes.get(*key)
        if node is None or node.spec.podCIDR:
            return None
        uid = node.metadata.uid
        cidr = self._given.get(uid) or first_free(self._cluster, self._mask, self._used())
        if not cidr:
            message = f"Node {node.metadata.name} status is now: CIDRNotAvailable"
            self._recorder.event(NODES, node, NORMAL, "CIDRNotAvailable", message)
            return Requeue(_FULL_WAIT_S)
        self._given[uid] = cidr

        def change(live: Node) -> bool:
            if live.spec.podCIDR:
                return False
            live.spec.podCIDR = cidr
            del live.spec.podCIDRs[:]
            live.spec.podCIDRs.append(cidr)
            return True

        await modify(self._client, NODES, node.metadata, change)
        log.info("pod range given", extra={"node": node.metadata.name, "cidr": cidr})
        return None

    def _used(self) -> set[str]:
        stored = {node.spec.podCIDR for node in self._nodes.list() if node.spec.podCIDR}
        return stored | set(self._given.values())
