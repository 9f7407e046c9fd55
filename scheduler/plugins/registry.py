"""The plugins by name, in upstream's order, with their weights and how their arguments build them.

A third party adds a plugin as an entry point of the group `podpath.scheduler_plugins`: its name in
configuration files, and a callable (handle, args) -> plugin.

Source: pkg/scheduler/framework/plugins/registry.go, pkg/scheduler/apis/config/v1/
{default_plugins,defaults}.go.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from podpath.component_base.clock import SystemClock
from scheduler.cache import Cache
from scheduler.framework.handle import Handle
from scheduler.framework.runtime import Framework
from scheduler.listers import StoreListers
from scheduler.plugins import args as plugin_args
from scheduler.plugins.default_binder import DefaultBinder
from scheduler.plugins.default_preemption import DefaultPreemption
from scheduler.plugins.image_locality import ImageLocality
from scheduler.plugins.inter_pod_affinity import InterPodAffinity
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_name import NodeName
from scheduler.plugins.node_ports import NodePorts
from scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from scheduler.plugins.node_resources_fit import NodeResourcesFit
from scheduler.plugins.node_unschedulable import NodeUnschedulable
from scheduler.plugins.node_volume_limits import NodeVolumeLimits
from scheduler.plugins.pod_topology_spread import PodTopologySpread
from scheduler.plugins.priority_sort import PrioritySort
from scheduler.plugins.scheduling_gates import SchedulingGates
from scheduler.plugins.taint_toleration import TaintToleration
from scheduler.plugins.volume_binding import VolumeBinding
from scheduler.plugins.volume_restrictions import VolumeRestrictions
from scheduler.plugins.volume_zone import VolumeZone

ENTRY_POINTS = "podpath.scheduler_plugins"

Args = Mapping[str, Any]
Factory = Callable[[Handle, Args], Any]

IN_TREE: Mapping[str, Factory] = {
    "SchedulingGates": lambda _handle, _args: SchedulingGates(),
    "PrioritySort": lambda _handle, _args: PrioritySort(),
    "NodeUnschedulable": lambda _handle, _args: NodeUnschedulable(),
    "NodeName": lambda _handle, _args: NodeName(),
    "TaintToleration": lambda _handle, _args: TaintToleration(),
    "NodeAffinity": lambda _handle, args: NodeAffinity(**plugin_args.node_affinity(args)),
    "NodePorts": lambda _handle, _args: NodePorts(),
    "NodeResourcesFit": lambda _handle, args: NodeResourcesFit(**plugin_args.fit(args)),
    "VolumeRestrictions": lambda handle, _args: VolumeRestrictions(handle),
    "NodeVolumeLimits": lambda handle, _args: NodeVolumeLimits(handle),
    "VolumeBinding": lambda handle, args: VolumeBinding(handle, **plugin_args.volume_binding(args)),
    "VolumeZone": lambda handle, _args: VolumeZone(handle),
    "PodTopologySpread": lambda handle, args: PodTopologySpread(
        handle, **plugin_args.pod_topology_spread(args)
    ),
    "InterPodAffinity": lambda handle, args: InterPodAffinity(
        handle, **plugin_args.inter_pod_affinity(args)
    ),
    "DefaultPreemption": lambda handle, args: DefaultPreemption(
        handle, **plugin_args.default_preemption(args)
    ),
    "NodeResourcesBalancedAllocation": lambda _handle, args: NodeResourcesBalancedAllocation(
        **plugin_args.balanced_allocation(args)
    ),
    "ImageLocality": lambda handle, _args: ImageLocality(handle),
    "DefaultBinder": lambda _handle, _args: DefaultBinder(),
}
"""In the order of the default profile's multiPoint list."""

DEFAULT_ORDER: Sequence[str] = tuple(IN_TREE)

DEFAULT_WEIGHTS: Mapping[str, int] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}


def factories() -> dict[str, Factory]:
    """All plugins that can be named in a configuration: ours and installed third parties'."""
    found: dict[str, Factory] = dict(IN_TREE)
    for entry in entry_points(group=ENTRY_POINTS):
        found.setdefault(entry.name, entry.load())
    return found


def default_framework(handle: Handle | None = None) -> Framework:
    """The profile `default-scheduler`. Without a handle it sees an empty cluster."""
    handle = handle or Handle(Cache(), StoreListers.holding(), random.Random(0), SystemClock())
    plugins = [factory(handle, {}) for factory in IN_TREE.values()]
    framework = Framework(
        plugins, DEFAULT_WEIGHTS, nominator=handle.nominator, waiting=handle.waiting
    )
    handle.filters = framework
    return framework
