"""Nodes that hold the Pod's images score higher, the more so the larger and the rarer not.

Source: pkg/scheduler/framework/plugins/imagelocality/image_locality.go.
"""

from scheduler.framework.cycle_state import CycleState
from scheduler.framework.handle import Handle
from scheduler.framework.interface import MAX_NODE_SCORE
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo

MIB = 1024 * 1024
MIN_THRESHOLD = 23 * MIB
MAX_THRESHOLD_PER_CONTAINER = 1000 * MIB


def normalized_image_name(name: str) -> str:
    """With `:latest` when it has no tag."""
    return f"{name}:latest" if name.rfind(":") <= name.rfind("/") else name


class ImageLocality:
    name = "ImageLocality"

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def score(self, _state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """0 below 23 MiB of the Pod's images on the node, 100 from 1000 MiB a container on.

        An image counts by its share of nodes that hold it, so that one node with a rare image does
        not draw all Pods.
        """
        spec = pod.pod.spec
        containers = (*spec.initContainers, *spec.containers)
        total = 0
        if node.images:
            node_count = len(self._handle.cluster.nodes())
            for container in containers:
                name = normalized_image_name(container.image)
                state = self._handle.cluster.image(name) if name in node.images else None
                if state is not None:
                    total += int(state.size * (state.node_count / node_count))
        highest = MAX_THRESHOLD_PER_CONTAINER * len(containers)
        total = min(max(total, MIN_THRESHOLD), highest)
        return MAX_NODE_SCORE * (total - MIN_THRESHOLD) // (highest - MIN_THRESHOLD)
