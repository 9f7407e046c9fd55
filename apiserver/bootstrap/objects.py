"""What must exist before a cluster can be used: namespaces, priority classes, RBAC policy.

Pure: the objects only. `reconcile.py` creates those that are missing.

Source: k8s.io/kubernetes pkg/controlplane/controller/{systemnamespaces,clusterauthenticationtrust},
pkg/apis/scheduling/v1/helpers.go.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from apiserver.bootstrap import roles
from podpath.api import scheme
from podpath.api.scheme import Resource
from protos.k8s.core_v1_pb2 import ConfigMap, Namespace
from protos.k8s.meta_v1_pb2 import ObjectMeta
from protos.k8s.scheduling_v1_pb2 import PriorityClass

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SYSTEM_PRIORITY = 2_000_000_000
NODE_CRITICAL = "system-node-critical"
CLUSTER_CRITICAL = "system-cluster-critical"
TOKEN_TRACKING_CONFIG_MAP = "kube-apiserver-legacy-service-account-token-tracking"
AUTHENTICATION_CONFIG_MAP = "extension-apiserver-authentication"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Objects of one resource, in the order in which they are created. Those that `follow` are
    written again when they differ; others belong to the administrator once they are there."""

    resource: Resource[Any]
    objects: Sequence[Message]
    follow: bool = False


def bootstrap_objects(client_ca_pem: str = "", today: str = "") -> Iterator[Wanted]:
    """Everything, in creation order: what others need comes first.

    `client_ca_pem` is published for extension API servers, `today` (2024-12-31) as the day since
    when the use of tokens in Secrets is watched; without them these ConfigMaps are left out.
    """
    yield Wanted(scheme.NAMESPACES, [namespace(name) for name in NAMESPACES])
    yield Wanted(scheme.PRIORITYCLASSES, list(priority_classes()))
    yield Wanted(scheme.CLUSTERROLES, list(roles.cluster_roles()))
    yield Wanted(scheme.CLUSTERROLEBINDINGS, list(roles.cluster_role_bindings()))
    yield Wanted(scheme.ROLES, list(roles.namespaced_roles()))
    yield Wanted(scheme.ROLEBINDINGS, list(roles.role_bindings()))
    if client_ca_pem:
        yield Wanted(scheme.CONFIGMAPS, [authentication_config_map(client_ca_pem)], follow=True)
    if today:
        yield Wanted(scheme.CONFIGMAPS, [token_tracking_config_map(today)])


def namespace(name: str) -> Namespace:
    meta = ObjectMeta(name=name, labels={"kubernetes.io/metadata.name": name})
    return Namespace(metadata=meta)


def priority_classes() -> Iterator[PriorityClass]:
    yield PriorityClass(
        metadata=ObjectMeta(name=CLUSTER_CRITICAL),
        value=SYSTEM_PRIORITY,
        description="For Pods that the cluster cannot do without but that may run on another node.",
        preemptionPolicy="PreemptLowerPriority",
    )
    yield PriorityClass(
        metadata=ObjectMeta(name=NODE_CRITICAL),
        value=SYSTEM_PRIORITY + 1000,
        description="For Pods that their node cannot do without.",
        preemptionPolicy="PreemptLowerPriority",
    )


def authentication_config_map(client_ca_pem: str) -> ConfigMap:
    meta = ObjectMeta(name=AUTHENTICATION_CONFIG_MAP, namespace="kube-system")
    return ConfigMap(metadata=meta, data={"client-ca-file": client_ca_pem})


def token_tracking_config_map(today: str) -> ConfigMap:
    """What the controller that cleans tokens in Secrets up looks at; there are none here.

    Source: k8s.io/kubernetes pkg/controlplane/controller/legacytokentracking.
    """
    meta = ObjectMeta(name=TOKEN_TRACKING_CONFIG_MAP, namespace="kube-system")
    return ConfigMap(metadata=meta, data={"since": today})
