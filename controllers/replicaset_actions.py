"""What a ReplicaSet needs: how many Pods more or which fewer, and its status. Pure.

Source: k8s.io/kubernetes pkg/controller/replicaset (replica_set.go, replica_set_utils.go).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controllers import pods as pod_facts
from controllers.ownership import controller_reference
from podpath.api.scheme import REPLICASETS
from protos.k8s.apps_v1_pb2 import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from protos.k8s.core_v1_pb2 import Pod

BURST_REPLICAS = 500
REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True)
class ReplicaActions:
    """At most one of the two is not empty. `difference` is active minus wanted Pods."""

    difference: int
    create: int
    delete: tuple[Pod, ...]


def wanted_replicas(replica_set: ReplicaSet) -> int:
    """`spec.replicas`, 1 when not set."""
    spec = replica_set.spec
    return spec.replicas if spec.HasField("replicas") else 1


def decide_replicas(
    replica_set: ReplicaSet, active: Sequence[Pod], related: Sequence[Pod], now_s: float
) -> ReplicaActions:
    """At most BURST_REPLICAS creations or deletions at a time.

    `related` are the Pods of all ReplicaSets of the same owner: a node that holds many of them
    gives one up first.
    """
    difference = len(active) - wanted_replicas(replica_set)
    if difference < 0:
        return ReplicaActions(difference, min(-difference, BURST_REPLICAS), ())
    if difference == 0:
        return ReplicaActions(0, 0, ())
    nodes: Mapping[str, int] = Counter(
        pod.spec.nodeName for pod in related if pod_facts.is_active(pod)
    )
    count = min(difference, BURST_REPLICAS)
    victims = pod_facts.select_for_deletion(active, count, nodes, now_s)
    return ReplicaActions(difference, 0, tuple(victims))


def pod_from_template(replica_set: ReplicaSet) -> Pod:
    """A Pod as the template has it, owned by the ReplicaSet, to be named by the server."""
    template = replica_set.spec.template
    pod = Pod()
    pod.metadata.generateName = f"{replica_set.metadata.name}-"
    pod.metadata.namespace = replica_set.metadata.namespace
    pod.metadata.labels.update(template.metadata.labels)
    pod.metadata.annotations.update(template.metadata.annotations)
    pod.metadata.finalizers.extend(template.metadata.finalizers)
    pod.metadata.ownerReferences.append(controller_reference(REPLICASETS, replica_set))
    pod.spec.CopyFrom(template.spec)
    return pod


@dataclass(frozen=True, slots=True)
class Failure:
    """Why Pods could not be created or deleted."""

    reason: str
    message: str


def compute_status(
    replica_set: ReplicaSet, active: Sequence[Pod], failure: Failure | None, now_s: float
) -> ReplicaSetStatus:
    """The status as it should be, beside `replica_set.status` as it is."""
    labels = replica_set.spec.template.metadata.labels
    wanted = dict(labels)
    min_ready_s = replica_set.spec.minReadySeconds
    fully_labeled = ready = available = 0
    for pod in active:
        own = pod.metadata.labels
        fully_labeled += all(key in own and own[key] == value for key, value in wanted.items())
        wait = pod_facts.available_in(pod, min_ready_s, now_s)
        if wait is not None or pod_facts.is_ready(pod):
            ready += 1
        available += wait == 0.0
    status = ReplicaSetStatus()
    status.CopyFrom(replica_set.status)
    status.replicas = len(active)
    status.fullyLabeledReplicas = fully_labeled
    status.readyReplicas = ready
    status.availableReplicas = available
    status.observedGeneration = replica_set.metadata.generation
    _set_failure(status, failure, now_s)
    return status


def next_look_s(active: Sequence[Pod], min_ready_s: int, now_s: float) -> float | None:
    """Seconds until the next ready Pod becomes available; None when none is waited for."""
    waits = [
        wait
        for pod in active
        if (wait := pod_facts.available_in(pod, min_ready_s, now_s)) is not None and wait > 0
    ]
    return min(waits) if waits else None


def _set_failure(status: ReplicaSetStatus, failure: Failure | None, now_s: float) -> None:
    present = next((c for c in status.conditions if c.type == REPLICA_FAILURE), None)
    if failure is not None and present is not None:
        return  # The first failure stands until it is over.
    if failure is None and present is None:
        return
    others = [c for c in status.conditions if c.type != REPLICA_FAILURE]
    del status.conditions[:]
    status.conditions.extend(others)
    if failure is not None:
        status.conditions.append(
            ReplicaSetCondition(
                type=REPLICA_FAILURE,
                status="True",
                reason=failure.reason,
                message=failure.message,
                lastTransitionTime=pod_facts.time_at(now_s),
            )
        )
