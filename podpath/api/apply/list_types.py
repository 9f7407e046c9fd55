"""Which lists are maps or sets in disguise and which objects are whole, for server-side apply.

What the tables do not name is the rule: lists are atomic, objects and maps are merged by key.
Strategic merge patch knows a different, older set of facts (`go_fields.py`).

Source: x-kubernetes-list-type, -list-map-keys and -map-type of the published OpenAPI document.
"""

_CORE = "k8s.io.api.core.v1."
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_ADMISSION = "k8s.io.api.admissionregistration.v1."
_FLOW = "k8s.io.api.flowcontrol.v1."


def _merged_lists() -> dict[tuple[str, str], tuple[str, ...]]:
    """(message, JSON key of the list) -> the keys that identify an element."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for owners, field, keys in (
        ((_CORE + "Container", _CORE + "EphemeralContainer"), "env", "name"),
        ((_CORE + "Container", _CORE + "EphemeralContainer"), "ports", "containerPort protocol"),
        ((_CORE + "Container", _CORE + "EphemeralContainer"), "volumeDevices", "devicePath"),
        ((_CORE + "Container", _CORE + "EphemeralContainer"), "volumeMounts", "mountPath"),
        ((_CORE + "ContainerStatus",), "volumeMounts", "mountPath"),
        ((_CORE + "ContainerStatus",), "allocatedResourcesStatus", "name"),
        ((_CORE + "ResourceStatus",), "resources", "resourceID"),
        ((_CORE + "ResourceRequirements",), "claims", "name"),
        ((_CORE + "NodeStatus",), "addresses", "type"),
        ((_CORE + "PodSpec",), "containers", "name"),
        ((_CORE + "PodSpec",), "initContainers", "name"),
        ((_CORE + "PodSpec",), "ephemeralContainers", "name"),
        ((_CORE + "PodSpec",), "hostAliases", "ip"),
        ((_CORE + "PodSpec",), "imagePullSecrets", "name"),
        ((_CORE + "PodSpec",), "resourceClaims", "name"),
        ((_CORE + "PodSpec",), "schedulingGates", "name"),
        ((_CORE + "PodSpec",), "topologySpreadConstraints", "topologyKey whenUnsatisfiable"),
        ((_CORE + "PodSpec",), "volumes", "name"),
        ((_CORE + "PodStatus",), "podIPs", "ip"),
        ((_CORE + "PodStatus",), "resourceClaimStatuses", "name"),
        ((_CORE + "ServiceAccount",), "secrets", "name"),
        ((_CORE + "ServiceSpec",), "ports", "port protocol"),
        ((_META + "ObjectMeta",), "ownerReferences", "uid"),
        ((_ADMISSION + "MutatingWebhook",), "matchConditions", "name"),
        ((_ADMISSION + "ValidatingWebhook",), "matchConditions", "name"),
        ((_ADMISSION + "MutatingWebhookConfiguration",), "webhooks", "name"),
        ((_ADMISSION + "ValidatingWebhookConfiguration",), "webhooks", "name"),
        ((_ADMISSION + "ValidatingAdmissionPolicySpec",), "matchConditions", "name"),
        ((_ADMISSION + "ValidatingAdmissionPolicySpec",), "variables", "name"),
        (("k8s.io.api.storage.v1.CSINodeSpec",), "drivers", "name"),
    ):
        for owner in owners:
            found[owner, field] = tuple(keys.split())
    for owner in (
        *(_CORE + kind + "Status" for kind in ("Namespace", "Node", "Pod", "Service")),
        *(_CORE + kind for kind in ("ComponentStatus", "ReplicationControllerStatus")),
        _CORE + "PersistentVolumeClaimStatus",
        *(f"k8s.io.api.apps.v1.{kind}Status" for kind in ("DaemonSet", "Deployment")),
        *(f"k8s.io.api.apps.v1.{kind}Status" for kind in ("ReplicaSet", "StatefulSet")),
        _ADMISSION + "ValidatingAdmissionPolicyStatus",
        "k8s.io.api.autoscaling.v2.HorizontalPodAutoscalerStatus",
        "k8s.io.api.certificates.v1.CertificateSigningRequestStatus",
        _FLOW + "FlowSchemaStatus",
        _FLOW + "PriorityLevelConfigurationStatus",
        "k8s.io.api.policy.v1.PodDisruptionBudgetStatus",
    ):
        found[owner, "conditions"] = ("type",)
    return found


MERGED_LISTS = _merged_lists()

# (message, JSON key): lists whose elements are scalars that stand for themselves.
SETS = frozenset(
    {
        (_META + "ObjectMeta", "finalizers"),
        (_CORE + "NodeSpec", "podCIDRs"),
        (_ADMISSION + "ValidatingAdmissionPolicyBindingSpec", "validationActions"),
        ("k8s.io.api.batch.v1.PodFailurePolicyOnExitCodesRequirement", "values"),
        ("k8s.io.api.batch.v1.UncountedTerminatedPods", "failed"),
        ("k8s.io.api.batch.v1.UncountedTerminatedPods", "succeeded"),
        ("k8s.io.api.discovery.v1.Endpoint", "addresses"),
        (_FLOW + "NonResourcePolicyRule", "nonResourceURLs"),
        (_FLOW + "NonResourcePolicyRule", "verbs"),
        (_FLOW + "ResourcePolicyRule", "apiGroups"),
        (_FLOW + "ResourcePolicyRule", "namespaces"),
        (_FLOW + "ResourcePolicyRule", "resources"),
        (_FLOW + "ResourcePolicyRule", "verbs"),
        ("k8s.io.api.storage.v1.CSIDriverSpec", "volumeLifecycleModes"),
    }
)

ATOMIC_MESSAGES = frozenset(
    {
        *(_ADMISSION + name for name in ("MatchResources", "NamedRuleWithOperations")),
        *(_ADMISSION + name for name in ("ParamKind", "ParamRef", "Variable")),
        "k8s.io.api.autoscaling.v1.CrossVersionObjectReference",
        *(_CORE + name for name in ("ConfigMapKeySelector", "EndpointAddress", "EndpointPort")),
        *(_CORE + name for name in ("LocalObjectReference", "NodeSelector", "NodeSelectorTerm")),
        *(_CORE + name for name in ("ObjectFieldSelector", "ObjectReference", "ScopeSelector")),
        *(_CORE + name for name in ("ResourceFieldSelector", "SecretKeySelector")),
        *(_CORE + name for name in ("SecretReference", "TopologySelectorTerm")),
        _CORE + "TypedLocalObjectReference",
        "k8s.io.api.discovery.v1.EndpointPort",
        "k8s.io.api.networking.v1.ServiceBackendPort",
        *(f"k8s.io.api.rbac.v1.{name}" for name in ("RoleRef", "Subject")),
        _META + "LabelSelector",
        _META + "OwnerReference",
    }
)

# (message, JSON key): maps that are replaced whole, and an object that is merged nevertheless.
ATOMIC_FIELDS = frozenset(
    {
        (_CORE + "PodSpec", "nodeSelector"),
        (_CORE + "ReplicationControllerSpec", "selector"),
        (_CORE + "ServiceSpec", "selector"),
        ("k8s.io.api.node.v1.Scheduling", "nodeSelector"),
    }
)
GRANULAR_FIELDS = frozenset({(_CORE + "PersistentVolumeSpec", "claimRef")})

KEY_DEFAULTS = {"protocol": "TCP"}
"""What a key is when an element leaves it out."""
