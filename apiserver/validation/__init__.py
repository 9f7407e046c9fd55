"""What is wrong with an object: pure functions, in upstream's words.

An object has been defaulted before it comes here. Each kind has rules for itself (`_CREATE`) and
perhaps for a change of it (`_UPDATE`); metadata is checked for all kinds alike.

Source: pkg/apis/*/validation/validation.go.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from apiserver.validation import (
    certificates,
    cluster,
    core,
    jobs,
    limits,
    metadata,
    pod,
    pod_update,
    rbac,
    service,
    workloads,
)
from apiserver.validation.metadata import validate_metadata, validate_metadata_update
from podpath.api.errors import FieldError
from podpath.api.scheme import Resource

Rules = Callable[[Any], list[FieldError]]
UpdateRules = Callable[[Any, Any], list[FieldError]]

_NAME_RULES: dict[tuple[str, str], metadata.NameRule] = {
    ("", "Namespace"): metadata.dns_label,
    ("", "Service"): metadata.dns_1035_label,
    ("apps", "StatefulSet"): metadata.dns_label,
    ("networking.k8s.io", "IPAddress"): metadata.ip_address,
    ("rbac.authorization.k8s.io", "ClusterRole"): metadata.path_segment,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): metadata.path_segment,
    ("rbac.authorization.k8s.io", "Role"): metadata.path_segment,
    ("rbac.authorization.k8s.io", "RoleBinding"): metadata.path_segment,
}

_CREATE: dict[tuple[str, str], Rules] = {
    ("", "ConfigMap"): core.validate_config_map,
    ("", "Event"): cluster.validate_core_event,
    ("", "LimitRange"): limits.validate_limit_range,
    ("", "Namespace"): core.validate_namespace,
    ("", "Node"): core.validate_node,
    ("", "PersistentVolumeClaim"): core.validate_claim,
    ("", "Pod"): pod.validate_pod,
    ("", "PodTemplate"): core.validate_pod_template,
    ("", "ReplicationController"): workloads.validate_replication_controller,
    ("", "ResourceQuota"): limits.validate_resource_quota,
    ("", "Secret"): core.validate_secret,
    ("", "Service"): service.validate_service,
    ("apps", "DaemonSet"): workloads.validate_daemon_set,
    ("apps", "Deployment"): workloads.validate_deployment,
    ("apps", "ReplicaSet"): workloads.validate_replica_set,
    ("apps", "StatefulSet"): workloads.validate_stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): cluster.validate_autoscaler,
    ("batch", "CronJob"): jobs.validate_cron_job,
    ("batch", "Job"): jobs.validate_job,
    ("certificates.k8s.io", "CertificateSigningRequest"): certificates.validate_request,
    ("coordination.k8s.io", "Lease"): cluster.validate_lease,
    ("events.k8s.io", "Event"): cluster.validate_event,
    ("policy", "PodDisruptionBudget"): cluster.validate_disruption_budget,
    ("rbac.authorization.k8s.io", "ClusterRole"): rbac.validate_cluster_role,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.validate_cluster_role_binding,
    ("rbac.authorization.k8s.io", "Role"): rbac.validate_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.validate_role_binding,
    ("scheduling.k8s.io", "PriorityClass"): cluster.validate_priority_class,
}


def _with_selector(rules: Rules) -> UpdateRules:
    """The rules for a new object, and a selector that stays as it was."""

    def update(new: Any, old: Any) -> list[FieldError]:
        return rules(new) + workloads.immutable_selector(new, old)

    return update


_UPDATE: dict[tuple[str, str], UpdateRules] = {
    ("", "ConfigMap"): core.validate_config_map_update,
    ("", "Namespace"): core.validate_namespace_update,
    ("", "Node"): core.validate_node_update,
    ("", "Pod"): pod_update.validate_pod_update,
    ("", "ResourceQuota"): limits.validate_resource_quota_update,
    ("", "Secret"): core.validate_secret_update,
    ("", "Service"): service.validate_service_update,
    ("apps", "DaemonSet"): _with_selector(workloads.validate_daemon_set),
    ("apps", "Deployment"): _with_selector(workloads.validate_deployment),
    ("apps", "ReplicaSet"): _with_selector(workloads.validate_replica_set),
    ("apps", "StatefulSet"): workloads.validate_stateful_set_update,
    ("batch", "CronJob"): jobs.validate_cron_job_update,
    ("batch", "Job"): jobs.validate_job_update,
    ("events.k8s.io", "Event"): cluster.validate_event_update,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.validate_cluster_role_binding_update,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.validate_role_binding_update,
    ("scheduling.k8s.io", "PriorityClass"): cluster.validate_priority_class_update,
}

# Reviews are answered, not stored: their metadata says nothing.
_WITHOUT_NAME = {"authentication.k8s.io", "authorization.k8s.io"}


def validate_create(resource: Resource[Any], message: Message) -> list[FieldError]:
    """What is wrong with a new object; empty if nothing is."""
    obj: Any = message
    key = (resource.group, resource.kind)
    found: list[FieldError] = []
    if resource.group not in _WITHOUT_NAME:
        rule = _NAME_RULES.get(key, metadata.dns_subdomain)
        found += validate_metadata(obj.metadata, resource.namespaced, rule)
    rules = _CREATE.get(key)
    return found + rules(obj) if rules is not None else found


def validate_update(resource: Resource[Any], new: Message, old: Message) -> list[FieldError]:
    """What is wrong with replacing `old` by `new`; empty if nothing is."""
    new_object: Any = new
    old_object: Any = old
    key = (resource.group, resource.kind)
    found = validate_metadata_update(new_object.metadata, old_object.metadata)
    update_rules = _UPDATE.get(key)
    if update_rules is not None:
        return found + update_rules(new_object, old_object)
    rules = _CREATE.get(key)
    return found + rules(new_object) if rules is not None else found
