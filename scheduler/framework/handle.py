"""What a plugin is built with: the cluster as the scheduler believes it to be, and tools.

Source: pkg/scheduler/framework/interface.go (Handle).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from scheduler.framework.cycle_state import CycleState
from scheduler.framework.interface import Extender, FilterPlugin
from scheduler.framework.status import Status
from scheduler.framework.waiting_pods import WaitingPods
from scheduler.listers import Listers
from scheduler.node_info import NodeInfo
from scheduler.nominator import Nominator
from scheduler.pod_info import PodInfo


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image's size in bytes and how many nodes hold it."""

    size: int
    node_count: int


class ClusterView(Protocol):
    """Nodes with their Pods. Within one scheduling cycle it does not change."""

    def nodes(self) -> Sequence[NodeInfo]: ...

    def node(self, name: str) -> NodeInfo | None: ...

    def nodes_with_affinity(self) -> Sequence[NodeInfo]:
        """Nodes that hold Pods with inter-pod terms of any kind."""

    def nodes_with_required_anti_affinity(self) -> Sequence[NodeInfo]: ...

    def image(self, name: str) -> ImageState | None: ...

    def is_claim_used(self, namespace: str, name: str) -> bool:
        """Whether a Pod on some node uses this PersistentVolumeClaim."""

    def lowest_priority(self) -> int | None:
        """Of all placed Pods; None when there are none."""


class Filters(Protocol):
    """The filters of the plugin's own profile, for what-if questions."""

    def filter_node(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        """Beside the Pods nominated there, and without them."""

    def filters_for(self, state: CycleState) -> Sequence[FilterPlugin]:
        """Those whose PreFilter did not leave them out."""

    def pod_added(
        self, state: CycleState, pod: PodInfo, added: PodInfo, node: NodeInfo
    ) -> None: ...

    def pod_removed(
        self, state: CycleState, pod: PodInfo, removed: PodInfo, node: NodeInfo
    ) -> None: ...


@dataclass(slots=True)
class Handle:
    """`filters` is there once the profile is complete; `client` only in a process."""

    cluster: ClusterView
    listers: Listers
    rng: random.Random
    clock: Clock
    nominator: Nominator = field(default_factory=Nominator)
    waiting: WaitingPods = field(default_factory=WaitingPods)
    client: Client | None = None
    extenders: Sequence[Extender] = ()
    filters: Filters | None = None
