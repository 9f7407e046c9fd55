"""Follows the node's own Node object, which controllers write to as well.

A node that was paused or cut off finds its conditions set to Unknown when it is back. Its status
has not changed, so nothing would be reported for minutes; seeing what the controller wrote, it
reports at once.

Source: pkg/kubelet/kubelet_node_status.go (tryUpdateNodeStatus reads the Node before it decides).
"""

import asyncio

from kubelet.node_status import NodeStatus
from podpath.client.informer import Handlers, Informer
from protos.k8s.core_v1_pb2 import Node


class OwnNode:
    """Hands newer versions of the Node to `status`."""

    def __init__(self, informer: Informer[Node], status: NodeStatus) -> None:
        """`informer` is limited to the one Node; it must run."""
        self._status = status
        self._contradicted = asyncio.Event()
        informer.add_handlers(Handlers(on_add=self._seen, on_update=lambda _, new: self._seen(new)))

    def _seen(self, node: Node) -> None:
        known = self._status.node
        if known is None or not is_newer(node, known):
            return
        latest = Node()
        latest.CopyFrom(node)
        self._status.node = latest
        if any(condition.status == "Unknown" for condition in node.status.conditions):
            self._contradicted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._contradicted.wait()
            self._contradicted.clear()
            await self._status.update()


def is_newer(node: Node, known: Node) -> bool:
    """Of the same object, or a successor of it."""
    return int(node.metadata.resourceVersion or 0) > int(known.metadata.resourceVersion or 0)
