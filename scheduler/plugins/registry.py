"""Which plugins the default profile has, in upstream's order, and their weights.

Source: pkg/scheduler/apis/config/v1/default_plugins.go.
"""

from scheduler.framework.runtime import Framework
from scheduler.plugins.node_affinity import NodeAffinity
from scheduler.plugins.node_name import NodeName
from scheduler.plugins.node_resources_fit import NodeResourcesFit
from scheduler.plugins.node_unschedulable import NodeUnschedulable
from scheduler.plugins.priority_sort import PrioritySort
from scheduler.plugins.scheduling_gates import SchedulingGates
from scheduler.plugins.taint_toleration import TaintToleration

DEFAULT_WEIGHTS = {"TaintToleration": 3, "NodeAffinity": 2, "NodeResourcesFit": 1}


def default_framework() -> Framework:
    """The profile `default-scheduler`."""
    plugins = (
        SchedulingGates(),
        PrioritySort(),
        NodeUnschedulable(),
        NodeName(),
        TaintToleration(),
        NodeAffinity(),
        NodeResourcesFit(),
    )
    return Framework(plugins, DEFAULT_WEIGHTS)
