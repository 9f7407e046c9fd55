"""Zones whose nodes fall silent together: how fast their Pods may be evicted. Pure.

One silent node is a broken node: its Pods are better off elsewhere. When most of a zone is silent,
the network or this control plane is the likelier cause, and evictions slow down or stop.

Source: k8s.io/kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go
(ComputeZoneState, handleDisruption), pkg/controller/nodelifecycle/scheduler/rate_limited_queue.go.
"""

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controllers.node_decisions import condition_of
from protos.k8s.core_v1_pb2 import Node

EXCLUDED = "node.kubernetes.io/exclude-disruption"
_REGION = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_ZONE = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_FEW = 2  # so many silent nodes are never more than their own trouble


@dataclass(frozen=True, slots=True)
class Zone:
    """A region's zone. Nodes without such labels are one zone together."""

    region: str
    zone: str


class ZoneState(enum.Enum):
    """What the silence of a zone's nodes amounts to."""

    INITIAL = "not looked at yet"
    NORMAL = "normal"
    PARTIAL = "partial disruption"
    FULL = "full disruption"


@dataclass(frozen=True, slots=True)
class EvictionRates:
    """Nodes per second, in each zone. `secondary` holds for a disrupted zone that has more nodes
    than `large_cluster_size`; a smaller one's evictions stop."""

    normal: float = 0.1
    secondary: float = 0.01
    large_cluster_size: int = 50
    unhealthy_zone: float = 0.55

    def of(self, state: ZoneState, size: int) -> float:
        if state is ZoneState.PARTIAL:
            return self.secondary if size > self.large_cluster_size else 0.0
        return self.normal


@dataclass(frozen=True, slots=True)
class ZoneHealth:
    """How many nodes of a zone are Ready, and how many are not."""

    ready: int = 0
    silent: int = 0

    @property
    def size(self) -> int:
        return self.ready + self.silent

    def state(self, unhealthy: float) -> ZoneState:
        if self.silent and not self.ready:
            return ZoneState.FULL
        if self.silent > _FEW and self.silent / self.size >= unhealthy:
            return ZoneState.PARTIAL
        return ZoneState.NORMAL


def zone_of(node: Node) -> Zone:
    labels = node.metadata.labels

    def first(keys: Iterable[str]) -> str:
        return next((labels[key] for key in keys if key in labels), "")

    return Zone(first(_REGION), first(_ZONE))


def health_of(nodes: Iterable[Node]) -> dict[Zone, ZoneHealth]:
    """By zone; without the nodes that are excluded by label."""
    found: dict[Zone, ZoneHealth] = {}
    for node in nodes:
        if EXCLUDED in node.metadata.labels:
            continue
        zone = zone_of(node)
        before = found.get(zone, ZoneHealth())
        ready = condition_of(node, "Ready")
        if ready is not None and ready.status == "True":
            found[zone] = ZoneHealth(before.ready + 1, before.silent)
        else:
            found[zone] = ZoneHealth(before.ready, before.silent + 1)
    return found


@dataclass(frozen=True, slots=True)
class Disruption:
    """`rates` are nodes per second. `all_lost`: since now no node of any zone is Ready, which tells
    more about this side; nobody is evicted. `regained`: since now some node is."""

    states: Mapping[Zone, ZoneState]
    rates: Mapping[Zone, float]
    all_lost: bool
    regained: bool


def decide_disruption(
    before: Mapping[Zone, ZoneState], zones: Mapping[Zone, ZoneHealth], rates: EvictionRates
) -> Disruption:
    """From the zones' earlier states and their present health."""
    states = {zone: health.state(rates.unhealthy_zone) for zone, health in zones.items()}
    are_lost = all(state is ZoneState.FULL for state in states.values())
    were_lost = all(before.get(zone, ZoneState.INITIAL) is ZoneState.FULL for zone in zones)
    return Disruption(
        states=states,
        rates={
            zone: 0.0 if are_lost else rates.of(state, zones[zone].size)
            for zone, state in states.items()
        },
        all_lost=are_lost and not were_lost,
        regained=were_lost and not are_lost,
    )


class RateLimiter:
    """One node each `1 / rate` seconds; what was not used is not saved up. A rate of 0: none.

    Times are monotonic seconds.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = -math.inf

    def try_accept(self, now_s: float) -> bool:
        if self._rate <= 0 or now_s < self._free_at:
            return False
        self._free_at = now_s + 1 / self._rate
        return True

    def set_rate(self, rate: float, now_s: float) -> None:
        """Who would have to wait now has to wait at the new rate, too."""
        if rate == self._rate:
            return
        waits = not self.try_accept(now_s)
        self._rate = rate
        self._free_at = now_s + 1 / rate if waits and rate > 0 else -math.inf
