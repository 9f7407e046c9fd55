"""Which columns and cells each kind has.

A column reads `Name`, `Name:type`, and `+Name` when only wide output shows it.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go (AddHandlers).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from apiserver.http_gateway.printers import cluster, core, pod, workloads
from apiserver.http_gateway.printers.cells import Cells

Printer = Callable[[Any, datetime], Cells]

_COUNTED = "Name Desired:integer Current:integer Ready:integer Age"
_WIDE_TEMPLATE = "+Containers +Images +Selector"
_EVENT = "Last_Seen Type Reason Object +Subobject +Source Message +First_Seen +Count +Name"
_BINDING = "Name Role Age +Users +Groups +ServiceAccounts"
_AUTOSCALER = "Name Reference Targets MinPods MaxPods Replicas Age"
_WEBHOOKS = "Name Webhooks:integer Age"

PRINTERS: dict[tuple[str, str], tuple[str, Printer]] = {
    ("", "ComponentStatus"): ("Name Status Message Error", core.component_status),
    ("", "ConfigMap"): ("Name Data Age", core.config_map),
    ("", "Endpoints"): ("Name Endpoints Age", core.endpoints),
    ("", "Event"): (_EVENT, core.event),
    ("", "Namespace"): ("Name Status Age", core.namespace),
    ("", "Node"): (
        "Name Status Roles Age Version +Internal-IP +External-IP +OS-Image +Kernel-Version "
        "+Container-Runtime",
        core.node,
    ),
    ("", "PersistentVolume"): (
        "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass "
        "VolumeAttributesClass Reason Age +VolumeMode",
        core.persistent_volume,
    ),
    ("", "PersistentVolumeClaim"): (
        "Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age "
        "+VolumeMode",
        core.persistent_volume_claim,
    ),
    ("", "Pod"): (
        "Name Ready Status Restarts Age +IP +Node +Nominated_Node +Readiness_Gates",
        pod.cells,
    ),
    ("", "PodTemplate"): ("Name Containers Images Pod_Labels", core.pod_template),
    ("", "ReplicationController"): (f"{_COUNTED} {_WIDE_TEMPLATE}", core.replication_controller),
    ("", "ResourceQuota"): ("Name Request Limit Age", core.resource_quota),
    ("", "Secret"): ("Name Type Data Age", core.secret),
    ("", "Service"): ("Name Type Cluster-IP External-IP Port(s) Age +Selector", core.service),
    ("", "ServiceAccount"): ("Name Secrets Age", core.service_account),
    ("events.k8s.io", "Event"): (_EVENT, core.events_v1_event),
    ("apps", "ControllerRevision"): ("Name Controller Revision Age", workloads.controller_revision),
    ("apps", "DaemonSet"): (
        "Name Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer "
        f"Node_Selector Age {_WIDE_TEMPLATE}",
        workloads.daemon_set,
    ),
    ("apps", "Deployment"): (
        f"Name Ready Up-to-date Available Age {_WIDE_TEMPLATE}",
        workloads.deployment,
    ),
    ("apps", "ReplicaSet"): (f"{_COUNTED} {_WIDE_TEMPLATE}", workloads.replica_set),
    ("apps", "StatefulSet"): ("Name Ready Age +Containers +Images", workloads.stateful_set),
    ("autoscaling", "HorizontalPodAutoscaler"): (_AUTOSCALER, workloads.autoscaler),
    ("autoscaling", "Scale"): (
        "Name:string: Desired:integer Available:integer Age",
        workloads.scale,
    ),
    ("batch", "CronJob"): (
        f"Name Schedule Timezone Suspend:boolean Active:integer Last_Schedule Age {_WIDE_TEMPLATE}",
        workloads.cron_job,
    ),
    ("batch", "Job"): (
        f"Name Status Completions Duration Age {_WIDE_TEMPLATE}",
        workloads.job,
    ),
    ("policy", "PodDisruptionBudget"): (
        "Name Min_Available Max_Unavailable Allowed_Disruptions:integer Age",
        workloads.pod_disruption_budget,
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): (
        "Name Age SignerName Requestor RequestedDuration Condition",
        cluster.signing_request,
    ),
    ("coordination.k8s.io", "Lease"): ("Name Holder Age", cluster.lease),
    ("discovery.k8s.io", "EndpointSlice"): (
        "Name AddressType Ports Endpoints Age",
        cluster.endpoint_slice,
    ),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): (
        "Name PriorityLevel MatchingPrecedence DistinguisherMethod Age MissingPL",
        cluster.flow_schema,
    ),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): (
        "Name Type NominalConcurrencyShares Queues HandSize QueueLengthLimit Age",
        cluster.priority_level,
    ),
    ("networking.k8s.io", "IPAddress"): ("Name ParentRef", cluster.ip_address),
    ("networking.k8s.io", "Ingress"): ("Name Class Hosts Address Ports Age", cluster.ingress),
    ("networking.k8s.io", "IngressClass"): (
        "Name Controller Parameters Age",
        cluster.ingress_class,
    ),
    ("networking.k8s.io", "NetworkPolicy"): ("Name Pod-Selector Age", cluster.network_policy),
    ("networking.k8s.io", "ServiceCIDR"): ("Name CIDRs Age", cluster.service_cidr),
    ("node.k8s.io", "RuntimeClass"): ("Name Handler Age", cluster.runtime_class),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): (_BINDING, cluster.role_binding),
    ("rbac.authorization.k8s.io", "RoleBinding"): (_BINDING, cluster.role_binding),
    ("scheduling.k8s.io", "PriorityClass"): (
        "Name Value:integer Global-Default:boolean Age PreemptionPolicy",
        cluster.priority_class,
    ),
    ("storage.k8s.io", "CSIDriver"): (
        "Name AttachRequired:boolean PodInfoOnMount:boolean StorageCapacity:boolean "
        "TokenRequests RequiresRepublish:boolean Modes Age",
        cluster.csi_driver,
    ),
    ("storage.k8s.io", "CSINode"): ("Name Drivers:integer Age", cluster.csi_node),
    ("storage.k8s.io", "CSIStorageCapacity"): (
        "Name StorageClassName Capacity",
        cluster.csi_storage_capacity,
    ),
    ("storage.k8s.io", "StorageClass"): (
        "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
        cluster.storage_class,
    ),
    ("storage.k8s.io", "VolumeAttachment"): (
        "Name Attacher:string:name PV Node Attached:boolean Age",
        cluster.volume_attachment,
    ),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): (
        _WEBHOOKS,
        cluster.webhook_configuration,
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): (
        "Name Validations:integer ParamKind Age",
        cluster.admission_policy,
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): (
        "Name PolicyName ParamRef Age",
        cluster.admission_policy_binding,
    ),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): (
        _WEBHOOKS,
        cluster.webhook_configuration,
    ),
}
"""By group and kind."""

VERSIONED: dict[tuple[str, str, str], Printer] = {
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): workloads.autoscaler_v1,
}
"""Where an older version has other fields."""
