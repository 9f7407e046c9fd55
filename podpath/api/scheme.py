"""Every kind the API server knows: its names, its scope, its message and where etcd keeps it.

One table, read by both doors, discovery, storage and clients. A kind joins by one row here;
`docs/howto/add-a-resource.md` lists the rest.

Source: the published API resource lists of Kubernetes 1.33.4; etcd paths from
pkg/kubeapiserver/default_storage_factory_builder.go.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import Message

from protos.k8s import (
    admissionregistration_v1_pb2,
    apps_v1_pb2,
    authentication_v1_pb2,
    authorization_v1_pb2,
    autoscaling_v1_pb2,
    autoscaling_v2_pb2,
    batch_v1_pb2,
    certificates_v1_pb2,
    coordination_v1_pb2,
    core_v1_pb2,
    discovery_v1_pb2,
    events_v1_pb2,
    flowcontrol_v1_pb2,
    meta_v1_pb2,
    networking_v1_pb2,
    node_v1_pb2,
    policy_v1_pb2,
    rbac_v1_pb2,
    scheduling_v1_pb2,
    storage_v1_pb2,
)

_ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

# Where upstream's key differs from the resource's plural.
_STORAGE_NAMES = {
    "nodes": "minions",
    "services": "services/specs",
    "endpoints": "services/endpoints",
    "replicationcontrollers": "controllers",
    "ingresses": "ingress",
}


class KubeObject(Protocol):
    """What every object has, whether a protobuf message or a custom resource's JSON tree."""

    @property
    def metadata(self) -> meta_v1_pb2.ObjectMeta: ...


ObjectT = TypeVar("ObjectT", bound=Message)


@dataclass(frozen=True, slots=True, eq=False)
class Resource(Generic[ObjectT]):
    """A REST resource and the kind it serves. Compared by identity: one instance a resource."""

    group: str
    version: str
    name: str
    kind: str
    message: type[ObjectT]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _ALL_VERBS
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def qualified_name(self) -> str:
        """As it stands in messages: `pods`, `deployments.apps`."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def storage_prefix(self) -> str:
        """etcd key prefix with its closing slash: `/registry/pods/`."""
        return f"/registry/{_STORAGE_NAMES.get(self.name, self.name)}/"

    def storage_key(self, namespace: str, name: str) -> str:
        """etcd key of one object; `namespace` is ignored for cluster-scoped kinds."""
        if self.namespaced:
            return f"{self.storage_prefix}{namespace}/{name}"
        return f"{self.storage_prefix}{name}"

    def __repr__(self) -> str:
        return f"<Resource {self.api_version} {self.name}>"


class UnknownKindError(LookupError):
    """No such kind or resource is registered."""


_by_resource: dict[tuple[str, str, str], Resource[Message]] = {}
_by_kind: dict[tuple[str, str], Resource[Message]] = {}


def _add(
    group: str, version: str, name: str, kind: str, message: type[ObjectT], **facts: object
) -> Resource[ObjectT]:
    resource = Resource(group, version, name, kind, message, **facts)  # type: ignore[arg-type]
    _by_resource[group, version, name] = resource  # type: ignore[assignment]
    _by_kind[resource.api_version, kind] = resource  # type: ignore[assignment]
    return resource


def by_resource(group: str, version: str, name: str) -> Resource[Message]:
    """The resource with this REST path. Raises: UnknownKindError."""
    try:
        return _by_resource[group, version, name]
    except KeyError:
        raise UnknownKindError(f"{group}/{version} {name}") from None


def by_kind(api_version: str, kind: str) -> Resource[Message]:
    """The resource that serves this kind. Raises: UnknownKindError."""
    try:
        return _by_kind[api_version, kind]
    except KeyError:
        raise UnknownKindError(f"{api_version} {kind}") from None


def resources() -> Iterator[Resource[Message]]:
    """All resources, in the order in which groups are preferred."""
    return iter(tuple(_by_resource.values()))


# v1
BINDINGS = _add("", "v1", "bindings", "Binding", core_v1_pb2.Binding, verbs=("create",))
COMPONENTSTATUSES = _add(
    "",
    "v1",
    "componentstatuses",
    "ComponentStatus",
    core_v1_pb2.ComponentStatus,
    namespaced=False,
    short_names=("cs",),
    verbs=(
        "get",
        "list",
    ),
)
CONFIGMAPS = _add("", "v1", "configmaps", "ConfigMap", core_v1_pb2.ConfigMap, short_names=("cm",))
ENDPOINTS = _add("", "v1", "endpoints", "Endpoints", core_v1_pb2.Endpoints, short_names=("ep",))
EVENTS = _add("", "v1", "events", "Event", core_v1_pb2.Event, short_names=("ev",))
LIMITRANGES = _add(
    "", "v1", "limitranges", "LimitRange", core_v1_pb2.LimitRange, short_names=("limits",)
)
NAMESPACES = _add(
    "",
    "v1",
    "namespaces",
    "Namespace",
    core_v1_pb2.Namespace,
    namespaced=False,
    short_names=("ns",),
    verbs=(
        "create",
        "delete",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ),
    subresources=(
        "finalize",
        "status",
    ),
)
NODES = _add(
    "",
    "v1",
    "nodes",
    "Node",
    core_v1_pb2.Node,
    namespaced=False,
    short_names=("no",),
    subresources=(
        "proxy",
        "status",
    ),
)
PERSISTENTVOLUMECLAIMS = _add(
    "",
    "v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    core_v1_pb2.PersistentVolumeClaim,
    short_names=("pvc",),
    subresources=("status",),
)
PERSISTENTVOLUMES = _add(
    "",
    "v1",
    "persistentvolumes",
    "PersistentVolume",
    core_v1_pb2.PersistentVolume,
    namespaced=False,
    short_names=("pv",),
    subresources=("status",),
)
PODS = _add(
    "",
    "v1",
    "pods",
    "Pod",
    core_v1_pb2.Pod,
    short_names=("po",),
    categories=("all",),
    subresources=(
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "proxy",
        "resize",
        "status",
    ),
)
PODTEMPLATES = _add("", "v1", "podtemplates", "PodTemplate", core_v1_pb2.PodTemplate)
REPLICATIONCONTROLLERS = _add(
    "",
    "v1",
    "replicationcontrollers",
    "ReplicationController",
    core_v1_pb2.ReplicationController,
    short_names=("rc",),
    categories=("all",),
    subresources=(
        "scale",
        "status",
    ),
)
RESOURCEQUOTAS = _add(
    "",
    "v1",
    "resourcequotas",
    "ResourceQuota",
    core_v1_pb2.ResourceQuota,
    short_names=("quota",),
    subresources=("status",),
)
SECRETS = _add("", "v1", "secrets", "Secret", core_v1_pb2.Secret)
SERVICEACCOUNTS = _add(
    "",
    "v1",
    "serviceaccounts",
    "ServiceAccount",
    core_v1_pb2.ServiceAccount,
    short_names=("sa",),
    subresources=("token",),
)
SERVICES = _add(
    "",
    "v1",
    "services",
    "Service",
    core_v1_pb2.Service,
    short_names=("svc",),
    categories=("all",),
    subresources=(
        "proxy",
        "status",
    ),
)

# apps/v1
CONTROLLERREVISIONS = _add(
    "apps", "v1", "controllerrevisions", "ControllerRevision", apps_v1_pb2.ControllerRevision
)
DAEMONSETS = _add(
    "apps",
    "v1",
    "daemonsets",
    "DaemonSet",
    apps_v1_pb2.DaemonSet,
    short_names=("ds",),
    categories=("all",),
    subresources=("status",),
)
DEPLOYMENTS = _add(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    apps_v1_pb2.Deployment,
    short_names=("deploy",),
    categories=("all",),
    subresources=(
        "scale",
        "status",
    ),
)
REPLICASETS = _add(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    apps_v1_pb2.ReplicaSet,
    short_names=("rs",),
    categories=("all",),
    subresources=(
        "scale",
        "status",
    ),
)
STATEFULSETS = _add(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    apps_v1_pb2.StatefulSet,
    short_names=("sts",),
    categories=("all",),
    subresources=(
        "scale",
        "status",
    ),
)

# events.k8s.io/v1
EVENTS_EVENTS_V1 = _add(
    "events.k8s.io", "v1", "events", "Event", events_v1_pb2.Event, short_names=("ev",)
)

# authentication.k8s.io/v1
SELFSUBJECTREVIEWS = _add(
    "authentication.k8s.io",
    "v1",
    "selfsubjectreviews",
    "SelfSubjectReview",
    authentication_v1_pb2.SelfSubjectReview,
    namespaced=False,
    verbs=("create",),
)
TOKENREVIEWS = _add(
    "authentication.k8s.io",
    "v1",
    "tokenreviews",
    "TokenReview",
    authentication_v1_pb2.TokenReview,
    namespaced=False,
    verbs=("create",),
)

# authorization.k8s.io/v1
LOCALSUBJECTACCESSREVIEWS = _add(
    "authorization.k8s.io",
    "v1",
    "localsubjectaccessreviews",
    "LocalSubjectAccessReview",
    authorization_v1_pb2.LocalSubjectAccessReview,
    verbs=("create",),
)
SELFSUBJECTACCESSREVIEWS = _add(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    authorization_v1_pb2.SelfSubjectAccessReview,
    namespaced=False,
    verbs=("create",),
)
SELFSUBJECTRULESREVIEWS = _add(
    "authorization.k8s.io",
    "v1",
    "selfsubjectrulesreviews",
    "SelfSubjectRulesReview",
    authorization_v1_pb2.SelfSubjectRulesReview,
    namespaced=False,
    verbs=("create",),
)
SUBJECTACCESSREVIEWS = _add(
    "authorization.k8s.io",
    "v1",
    "subjectaccessreviews",
    "SubjectAccessReview",
    authorization_v1_pb2.SubjectAccessReview,
    namespaced=False,
    verbs=("create",),
)

# autoscaling/v2
HORIZONTALPODAUTOSCALERS = _add(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    autoscaling_v2_pb2.HorizontalPodAutoscaler,
    short_names=("hpa",),
    categories=("all",),
    subresources=("status",),
)

# autoscaling/v1
HORIZONTALPODAUTOSCALERS_V1 = _add(
    "autoscaling",
    "v1",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    autoscaling_v1_pb2.HorizontalPodAutoscaler,
    short_names=("hpa",),
    categories=("all",),
    subresources=("status",),
)

# batch/v1
CRONJOBS = _add(
    "batch",
    "v1",
    "cronjobs",
    "CronJob",
    batch_v1_pb2.CronJob,
    short_names=("cj",),
    categories=("all",),
    subresources=("status",),
)
JOBS = _add(
    "batch", "v1", "jobs", "Job", batch_v1_pb2.Job, categories=("all",), subresources=("status",)
)

# certificates.k8s.io/v1
CERTIFICATESIGNINGREQUESTS = _add(
    "certificates.k8s.io",
    "v1",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    certificates_v1_pb2.CertificateSigningRequest,
    namespaced=False,
    short_names=("csr",),
    subresources=(
        "approval",
        "status",
    ),
)

# networking.k8s.io/v1
INGRESSCLASSES = _add(
    "networking.k8s.io",
    "v1",
    "ingressclasses",
    "IngressClass",
    networking_v1_pb2.IngressClass,
    namespaced=False,
)
INGRESSES = _add(
    "networking.k8s.io",
    "v1",
    "ingresses",
    "Ingress",
    networking_v1_pb2.Ingress,
    short_names=("ing",),
    subresources=("status",),
)
IPADDRESSES = _add(
    "networking.k8s.io",
    "v1",
    "ipaddresses",
    "IPAddress",
    networking_v1_pb2.IPAddress,
    namespaced=False,
    short_names=("ip",),
)
NETWORKPOLICIES = _add(
    "networking.k8s.io",
    "v1",
    "networkpolicies",
    "NetworkPolicy",
    networking_v1_pb2.NetworkPolicy,
    short_names=("netpol",),
)
SERVICECIDRS = _add(
    "networking.k8s.io",
    "v1",
    "servicecidrs",
    "ServiceCIDR",
    networking_v1_pb2.ServiceCIDR,
    namespaced=False,
    subresources=("status",),
)

# policy/v1
PODDISRUPTIONBUDGETS = _add(
    "policy",
    "v1",
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    policy_v1_pb2.PodDisruptionBudget,
    short_names=("pdb",),
    subresources=("status",),
)

# rbac.authorization.k8s.io/v1
CLUSTERROLEBINDINGS = _add(
    "rbac.authorization.k8s.io",
    "v1",
    "clusterrolebindings",
    "ClusterRoleBinding",
    rbac_v1_pb2.ClusterRoleBinding,
    namespaced=False,
)
CLUSTERROLES = _add(
    "rbac.authorization.k8s.io",
    "v1",
    "clusterroles",
    "ClusterRole",
    rbac_v1_pb2.ClusterRole,
    namespaced=False,
)
ROLEBINDINGS = _add(
    "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", rbac_v1_pb2.RoleBinding
)
ROLES = _add("rbac.authorization.k8s.io", "v1", "roles", "Role", rbac_v1_pb2.Role)

# storage.k8s.io/v1
CSIDRIVERS = _add(
    "storage.k8s.io", "v1", "csidrivers", "CSIDriver", storage_v1_pb2.CSIDriver, namespaced=False
)
CSINODES = _add(
    "storage.k8s.io", "v1", "csinodes", "CSINode", storage_v1_pb2.CSINode, namespaced=False
)
CSISTORAGECAPACITIES = _add(
    "storage.k8s.io",
    "v1",
    "csistoragecapacities",
    "CSIStorageCapacity",
    storage_v1_pb2.CSIStorageCapacity,
)
STORAGECLASSES = _add(
    "storage.k8s.io",
    "v1",
    "storageclasses",
    "StorageClass",
    storage_v1_pb2.StorageClass,
    namespaced=False,
    short_names=("sc",),
)
VOLUMEATTACHMENTS = _add(
    "storage.k8s.io",
    "v1",
    "volumeattachments",
    "VolumeAttachment",
    storage_v1_pb2.VolumeAttachment,
    namespaced=False,
    subresources=("status",),
)

# admissionregistration.k8s.io/v1
MUTATINGWEBHOOKCONFIGURATIONS = _add(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    admissionregistration_v1_pb2.MutatingWebhookConfiguration,
    namespaced=False,
    categories=("api-extensions",),
)
VALIDATINGADMISSIONPOLICIES = _add(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    admissionregistration_v1_pb2.ValidatingAdmissionPolicy,
    namespaced=False,
    categories=("api-extensions",),
    subresources=("status",),
)
VALIDATINGADMISSIONPOLICYBINDINGS = _add(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    admissionregistration_v1_pb2.ValidatingAdmissionPolicyBinding,
    namespaced=False,
    categories=("api-extensions",),
)
VALIDATINGWEBHOOKCONFIGURATIONS = _add(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    admissionregistration_v1_pb2.ValidatingWebhookConfiguration,
    namespaced=False,
    categories=("api-extensions",),
)

# scheduling.k8s.io/v1
PRIORITYCLASSES = _add(
    "scheduling.k8s.io",
    "v1",
    "priorityclasses",
    "PriorityClass",
    scheduling_v1_pb2.PriorityClass,
    namespaced=False,
    short_names=("pc",),
)

# coordination.k8s.io/v1
LEASES = _add("coordination.k8s.io", "v1", "leases", "Lease", coordination_v1_pb2.Lease)

# node.k8s.io/v1
RUNTIMECLASSES = _add(
    "node.k8s.io",
    "v1",
    "runtimeclasses",
    "RuntimeClass",
    node_v1_pb2.RuntimeClass,
    namespaced=False,
)

# discovery.k8s.io/v1
ENDPOINTSLICES = _add(
    "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", discovery_v1_pb2.EndpointSlice
)

# flowcontrol.apiserver.k8s.io/v1
FLOWSCHEMAS = _add(
    "flowcontrol.apiserver.k8s.io",
    "v1",
    "flowschemas",
    "FlowSchema",
    flowcontrol_v1_pb2.FlowSchema,
    namespaced=False,
    subresources=("status",),
)
PRIORITYLEVELCONFIGURATIONS = _add(
    "flowcontrol.apiserver.k8s.io",
    "v1",
    "prioritylevelconfigurations",
    "PriorityLevelConfiguration",
    flowcontrol_v1_pb2.PriorityLevelConfiguration,
    namespaced=False,
    subresources=("status",),
)
