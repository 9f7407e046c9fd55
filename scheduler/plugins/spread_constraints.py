"""The topology spread constraints that hold for a Pod: its own, or the cluster's defaults.

Source: pkg/scheduler/framework/plugins/podtopologyspread/common.go, plugins/helper/spread.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from podpath.api import scheme, selectors
from podpath.api.node_selectors import matches_required
from podpath.api.selectors import LabelSelector, Operator
from podpath.api.tolerations import first_untolerated
from podpath.client.store import controller_of
from protos.k8s.apps_v1_pb2 import ReplicaSet, StatefulSet
from protos.k8s.core_v1_pb2 import Node, Pod, TopologySpreadConstraint
from scheduler.listers import Listers
from scheduler.node_info import NodeInfo
from scheduler.pod_info import PodInfo, with_label_keys

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
HARD = "DoNotSchedule"
SOFT = "ScheduleAnyway"

SYSTEM_DEFAULTS = (
    TopologySpreadConstraint(maxSkew=3, topologyKey=HOSTNAME, whenUnsatisfiable=SOFT),
    TopologySpreadConstraint(maxSkew=5, topologyKey=ZONE, whenUnsatisfiable=SOFT),
)


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint with its defaults filled in. `honor_*`: count only nodes the Pod may use."""

    max_skew: int
    topology_key: str
    selector: LabelSelector
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False

    def counts_node(self, pod: Pod, node: Node) -> bool:
        """Whether the node's Pods and domain count at all."""
        if self.honor_affinity and not matches_required(pod, node):
            return False
        return not (
            self.honor_taints
            and first_untolerated(
                node.spec.taints, pod.spec.tolerations, ("NoSchedule", "NoExecute")
            )
        )


def own_constraints(pod: PodInfo, action: str) -> tuple[Constraint, ...]:
    """Those of the Pod's spec with this whenUnsatisfiable. Raises: SelectorError."""
    return _parse(pod.pod.spec.topologySpreadConstraints, pod.labels, action)


def default_constraints(
    pod: PodInfo, defaults: Sequence[TopologySpreadConstraint], action: str, listers: Listers
) -> tuple[Constraint, ...]:
    """The defaults, about the Pods of the same services and controller; none without these."""
    wanted = [d for d in defaults if d.whenUnsatisfiable == action]
    if not wanted:
        return ()
    selector = sibling_selector(pod, listers)
    if selector.everything:
        return ()
    return tuple(
        Constraint(
            c.max_skew, c.topology_key, selector, c.min_domains, c.honor_affinity, c.honor_taints
        )
        for c in _parse(wanted, pod.labels, action)
    )


def _parse(
    constraints: Sequence[TopologySpreadConstraint], labels: Mapping[str, str], action: str
) -> tuple[Constraint, ...]:
    return tuple(
        _constraint(c.SerializeToString(deterministic=True), tuple(sorted(labels.items())))
        for c in constraints
        if c.whenUnsatisfiable == action
    )


@lru_cache(maxsize=4096)
def _constraint(text: bytes, labels: tuple[tuple[str, str], ...]) -> Constraint:
    message = TopologySpreadConstraint.FromString(text)
    selector = selectors.from_message(
        message.labelSelector if message.HasField("labelSelector") else None
    )
    return Constraint(
        message.maxSkew,
        message.topologyKey,
        with_label_keys(selector, message.matchLabelKeys, dict(labels), Operator.IN),
        message.minDomains if message.HasField("minDomains") else 1,
        (message.nodeAffinityPolicy or "Honor") == "Honor",
        message.nodeTaintsPolicy == "Honor",
    )


SIBLINGS_FROM = (
    scheme.SERVICES,
    scheme.REPLICATIONCONTROLLERS,
    scheme.REPLICASETS,
    scheme.STATEFULSETS,
)
"""What `sibling_selector` reads."""


def sibling_selector(pod: PodInfo, listers: Listers) -> LabelSelector:
    """What selects the Pod's like: its services' selectors and its controller's, all together."""
    namespace = pod.key[0]
    merged: dict[str, str] = {}
    for service in listers.list(scheme.SERVICES, namespace):
        wanted = service.spec.selector
        if wanted and all(pod.labels.get(key) == value for key, value in wanted.items()):
            merged.update(wanted)
    owner = controller_of(pod.pod.metadata)
    if owner is None:
        return selectors.from_labels(merged)
    kind = (owner.apiVersion, owner.kind)
    if kind == ("v1", "ReplicationController"):
        controller = listers.get(scheme.REPLICATIONCONTROLLERS, namespace, owner.name)
        if controller is not None:
            merged.update(controller.spec.selector)
        return selectors.from_labels(merged)
    selector = selectors.from_labels(merged)
    owning: ReplicaSet | StatefulSet | None = None
    if kind == ("apps/v1", "ReplicaSet"):
        owning = listers.get(scheme.REPLICASETS, namespace, owner.name)
    elif kind == ("apps/v1", "StatefulSet"):
        owning = listers.get(scheme.STATEFULSETS, namespace, owner.name)
    if owning is None:
        return selector
    other = selectors.from_message(owning.spec.selector)
    if other.nothing:
        return selector
    return LabelSelector(selector.requirements + other.requirements)


def has_all_keys(labels: Mapping[str, str], constraints: Sequence[Constraint]) -> bool:
    return all(constraint.topology_key in labels for constraint in constraints)


def count_matching(node: NodeInfo, selector: LabelSelector, namespace: str) -> int:
    """Pods of the namespace on the node that match and are not on their way out."""
    if selector.everything:
        return 0
    return sum(
        not pod.is_terminating and pod.key[0] == namespace and selector.matches(pod.labels)
        for pod in node.pods.values()
    )
