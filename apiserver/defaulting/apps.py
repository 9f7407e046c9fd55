"""Defaults of apps/v1.

Source: pkg/apis/apps/v1/defaults.go.
"""

from apiserver.defaulting.core import persistent_volume_claim_defaults
from apiserver.defaulting.int_or_string import set_value
from apiserver.defaulting.pod import pod_spec_defaults
from protos.k8s.apps_v1_pb2 import (
    DaemonSet,
    DaemonSetSpec,
    Deployment,
    DeploymentSpec,
    ReplicaSet,
    ReplicaSetSpec,
    StatefulSet,
    StatefulSetSpec,
)


def _replicas(spec: DeploymentSpec | ReplicaSetSpec | StatefulSetSpec) -> None:
    if not spec.HasField("replicas"):
        spec.replicas = 1


def _revision_history(spec: DeploymentSpec | DaemonSetSpec | StatefulSetSpec) -> None:
    if not spec.HasField("revisionHistoryLimit"):
        spec.revisionHistoryLimit = 10


def deployment_defaults(deployment: Deployment) -> None:
    spec = deployment.spec
    _replicas(spec)
    strategy = spec.strategy
    strategy.type = strategy.type or "RollingUpdate"
    if strategy.type == "RollingUpdate":
        for name in ("maxUnavailable", "maxSurge"):
            if not strategy.rollingUpdate.HasField(name):
                set_value(getattr(strategy.rollingUpdate, name), "25%")
    _revision_history(spec)
    if not spec.HasField("progressDeadlineSeconds"):
        spec.progressDeadlineSeconds = 600
    pod_spec_defaults(spec.template.spec)


def replica_set_defaults(replica_set: ReplicaSet) -> None:
    _replicas(replica_set.spec)
    pod_spec_defaults(replica_set.spec.template.spec)


def daemon_set_defaults(daemon_set: DaemonSet) -> None:
    spec = daemon_set.spec
    strategy = spec.updateStrategy
    strategy.type = strategy.type or "RollingUpdate"
    if strategy.type == "RollingUpdate":
        for name, value in (("maxUnavailable", 1), ("maxSurge", 0)):
            if not strategy.rollingUpdate.HasField(name):
                set_value(getattr(strategy.rollingUpdate, name), value)
    _revision_history(spec)
    pod_spec_defaults(spec.template.spec)


def stateful_set_defaults(stateful_set: StatefulSet) -> None:
    spec = stateful_set.spec
    spec.podManagementPolicy = spec.podManagementPolicy or "OrderedReady"
    strategy = spec.updateStrategy
    if not strategy.type:
        strategy.type = "RollingUpdate"
        strategy.rollingUpdate.SetInParent()
    rolls = strategy.type == "RollingUpdate" and strategy.HasField("rollingUpdate")
    if rolls and not strategy.rollingUpdate.HasField("partition"):
        strategy.rollingUpdate.partition = 0
    retention = spec.persistentVolumeClaimRetentionPolicy
    retention.whenDeleted = retention.whenDeleted or "Retain"
    retention.whenScaled = retention.whenScaled or "Retain"
    _replicas(spec)
    _revision_history(spec)
    pod_spec_defaults(spec.template.spec)
    for claim in spec.volumeClaimTemplates:
        persistent_volume_claim_defaults(claim)
