"""What the server fills in where a client said nothing.

Pure: an object in, the same object changed. Every kind's defaults are one function in a module of
its group; `_DEFAULTS` says which.

Source: pkg/apis/*/v1/defaults.go and zz_generated.defaults.go.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from apiserver.defaulting import (
    admissionregistration,
    aliases,
    apps,
    autoscaling,
    batch,
    cluster,
    core,
    networking,
    pod,
    rbac,
    storage,
)
from podpath.api.scheme import Resource

_DEFAULTS: dict[tuple[str, str], Callable[[Any], None]] = {
    ("v1", "Pod"): pod.pod_defaults,
    ("v1", "PodTemplate"): lambda template: pod.pod_spec_defaults(template.template.spec),
    ("v1", "ConfigMap"): lambda _: None,
    ("v1", "Endpoints"): core.endpoints_defaults,
    ("v1", "LimitRange"): core.limit_range_defaults,
    ("v1", "Namespace"): core.namespace_defaults,
    ("v1", "Node"): core.node_defaults,
    ("v1", "PersistentVolume"): core.persistent_volume_defaults,
    ("v1", "PersistentVolumeClaim"): core.persistent_volume_claim_defaults,
    ("v1", "ReplicationController"): core.replication_controller_defaults,
    ("v1", "ResourceQuota"): core.resource_quota_defaults,
    ("v1", "Secret"): core.secret_defaults,
    ("v1", "Service"): core.service_defaults,
    ("apps/v1", "DaemonSet"): apps.daemon_set_defaults,
    ("apps/v1", "Deployment"): apps.deployment_defaults,
    ("apps/v1", "ReplicaSet"): apps.replica_set_defaults,
    ("apps/v1", "StatefulSet"): apps.stateful_set_defaults,
    ("autoscaling/v1", "HorizontalPodAutoscaler"): autoscaling.autoscaler_v1_defaults,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): autoscaling.autoscaler_defaults,
    ("batch/v1", "CronJob"): batch.cron_job_defaults,
    ("batch/v1", "Job"): batch.job_defaults,
    ("discovery.k8s.io/v1", "EndpointSlice"): networking.endpoint_slice_defaults,
    ("networking.k8s.io/v1", "IngressClass"): networking.ingress_class_defaults,
    ("networking.k8s.io/v1", "NetworkPolicy"): networking.network_policy_defaults,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): rbac.binding_defaults,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): rbac.binding_defaults,
    ("scheduling.k8s.io/v1", "PriorityClass"): cluster.priority_class_defaults,
    ("authentication.k8s.io/v1", "TokenRequest"): cluster.token_request_defaults,
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"): cluster.flow_schema_defaults,
    (
        "flowcontrol.apiserver.k8s.io/v1",
        "PriorityLevelConfiguration",
    ): cluster.priority_level_defaults,
    ("storage.k8s.io/v1", "CSIDriver"): storage.csi_driver_defaults,
    ("storage.k8s.io/v1", "StorageClass"): storage.storage_class_defaults,
    (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
    ): admissionregistration.mutating_defaults,
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    ): admissionregistration.validating_defaults,
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
    ): admissionregistration.policy_defaults,
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
    ): admissionregistration.policy_binding_defaults,
}


def apply_defaults(resource: Resource[Any], message: Message) -> None:
    """Fills in defaults and brings fields that are aliases of one another in line, in place.

    Doing it twice changes nothing more.
    """
    set_defaults(resource.api_version, resource.kind, message)
    aliases.align(resource.api_version, resource.kind, message)


def set_defaults(api_version: str, kind: str, message: Message) -> None:
    """Upstream's SetObjectDefaults alone, without what its conversions do."""
    defaults = _DEFAULTS.get((api_version, kind))
    if defaults is not None:
        defaults(message)
