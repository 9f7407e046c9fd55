"""Kubelets write only what is theirs: their Node, Lease and CSINode, the status of their Pods.

The node authorizer has decided by names; this plugin looks at the objects.

Source: k8s.io/kubernetes plugin/pkg/admission/noderestriction/admission.go.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from apiserver.admission.interface import Attributes
from apiserver.admission.pods import MIRROR_ANNOTATION
from apiserver.admission.rejection import forbidden
from apiserver.authentication import users
from apiserver.authorization.messages import quote
from apiserver.authorization.node_graph import claim_names, config_map_names, secret_names
from apiserver.lister import Lister
from podpath.api import errors, scheme
from podpath.api.errors import ApiError
from protos.k8s.authentication_v1_pb2 import TokenRequest
from protos.k8s.core_v1_pb2 import Node, PersistentVolumeClaim, Pod
from protos.k8s.meta_v1_pb2 import OwnerReference

LEASE_NAMESPACE = "kube-node-lease"
_RESTRICTED = "node-restriction.kubernetes.io"
# What a kubelet may say about itself under kubernetes.io and k8s.io.
_KUBELET_LABELS = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_KUBELET_LABEL_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_STATUS_OF_CLAIM = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")


class NodeRestriction:
    """Mutating, as upstream, though it only rejects."""

    name = "NodeRestriction"

    def __init__(self, lister: Lister) -> None:
        self._lister = lister
        self._checks = {
            scheme.PODS: self._pod,
            scheme.NODES: _node,
            scheme.PERSISTENTVOLUMECLAIMS: _claim,
            scheme.SERVICEACCOUNTS: self._token,
            scheme.LEASES: _lease,
            scheme.CSINODES: _csi_node,
        }

    def handles(self, attributes: Attributes) -> bool:
        return (
            attributes.user.name.startswith(users.NODE_PREFIX)
            and attributes.operation in {"CREATE", "UPDATE", "DELETE"}
            and attributes.target.resource in self._checks
        )

    async def admit(self, attributes: Attributes) -> None:
        node = users.node_of(attributes.user)
        if node is None:
            return
        if not node:
            cause = f"could not determine node from user {quote(attributes.user.name)}"
            raise forbidden(attributes, cause)
        self._checks[attributes.target.resource](node, attributes)

    # ------------------------------------------------------------ Pods

    def _pod(self, node: str, attributes: Attributes) -> None:
        subresource, operation = attributes.target.subresource, attributes.operation
        if subresource == "status":
            _pod_status(node, attributes)
        elif subresource == "eviction":
            if self._existing_pod(attributes).spec.nodeName != node:
                cause = f"node {node} can only evict pods with spec.nodeName set to itself"
                raise forbidden(attributes, cause)
        elif subresource:
            cause = "only 'status' and 'eviction' are allowed"
            raise forbidden(attributes, f"unexpected pod subresource {quote(subresource)}, {cause}")
        elif operation == "CREATE":
            self._create_pod(node, attributes)
        elif operation == "DELETE":
            if self._existing_pod(attributes).spec.nodeName != node:
                cause = "can only delete pods with spec.nodeName set to itself"
                raise forbidden(attributes, f"node {quote(node)} {cause}")
        else:
            cause = "can only create and delete mirror pods"
            raise forbidden(
                attributes, f"unexpected operation {quote(operation)}, node {quote(node)} {cause}"
            )

    def _existing_pod(self, attributes: Attributes) -> Pod:
        if isinstance(attributes.old_object, Pod):
            return attributes.old_object
        target = attributes.target
        pod = self._lister.get(scheme.PODS, target.namespace, target.name)
        if pod is None:
            raise errors.not_found("", "pods", target.name)
        return pod

    def _create_pod(self, node: str, attributes: Attributes) -> None:
        pod = attributes.object
        assert isinstance(pod, Pod)
        who = f"node {quote(node)}"
        if MIRROR_ANNOTATION not in pod.metadata.annotations:
            cause = f"pod does not have {quote(MIRROR_ANNOTATION)} annotation"
            raise forbidden(attributes, f"{cause}, {who} can only create mirror pods")
        if pod.spec.nodeName != node:
            cause = "can only create pods with spec.nodeName set to itself"
            raise forbidden(attributes, f"{who} {cause}")
        owners = pod.metadata.ownerReferences
        if len(owners) != 1:
            kind = "a single owner" if owners else "an owner"
            cause = f"{who} can only create pods with {kind} reference set to itself"
            raise forbidden(attributes, cause)
        self._check_owner(node, attributes, owners[0])
        for what, names in (
            (
                "a service account",
                [pod.spec.serviceAccountName] * bool(pod.spec.serviceAccountName),
            ),
            ("secrets", secret_names(pod)),
            ("configmaps", config_map_names(pod)),
            ("persistentvolumeclaims", claim_names(pod)),
        ):
            if any(True for _ in names):
                cause = f"can not create pods that reference {what}"
                raise forbidden(attributes, f"{who} {cause}")

    def _check_owner(self, node: str, attributes: Attributes, owner: OwnerReference) -> None:
        who = f"node {quote(node)}"
        if (owner.apiVersion, owner.kind, owner.name) != ("v1", "Node", node):
            cause = "can only create pods with an owner reference set to itself"
            raise forbidden(attributes, f"{who} {cause}")
        if not owner.controller:
            cause = "can only create pods with a controller owner reference set to itself"
            raise forbidden(attributes, f"{who} {cause}")
        if owner.blockOwnerDeletion:
            cause = "must not set blockOwnerDeletion on an owner reference"
            raise forbidden(attributes, f"{who} {cause}")
        found = self._lister.get(scheme.NODES, "", node)
        if found is None:
            raise errors.not_found("", "nodes", node)
        if owner.uid != found.metadata.uid:
            cause = f"UID mismatch: expected {owner.uid} got {found.metadata.uid}"
            raise forbidden(attributes, f"node {node} {cause}")

    # ------------------------------------------------------------ tokens

    def _token(self, node: str, attributes: Attributes) -> None:
        request = attributes.object
        if attributes.operation != "CREATE" or not isinstance(request, TokenRequest):
            return
        ref = request.spec.boundObjectRef
        if (ref.apiVersion, ref.kind) != ("v1", "Pod") or not ref.name:
            raise forbidden(attributes, "node requested token not bound to a pod")
        if not ref.uID:
            cause = "node requested token with a pod binding without a uid"
            raise forbidden(attributes, cause)
        pod = self._lister.get(scheme.PODS, attributes.target.namespace, ref.name)
        if pod is None:
            raise errors.not_found("", "pods", ref.name)
        if ref.uID != pod.metadata.uid:
            cause = (
                f"the UID in the bound object reference ({ref.uID}) does not match the UID in "
                "record. The object might have been deleted and then recreated"
            )
            raise forbidden(attributes, cause)
        if pod.spec.nodeName != node:
            cause = "node requested token bound to a pod scheduled on a different node"
            raise forbidden(attributes, cause)


def _pod_status(node: str, attributes: Attributes) -> None:
    old, new, who = attributes.old_object, attributes.object, f"node {quote(node)}"
    if attributes.operation != "UPDATE" or not isinstance(old, Pod) or not isinstance(new, Pod):
        raise forbidden(attributes, f"unexpected operation {quote(attributes.operation)}")
    if old.spec.nodeName != node:
        cause = "can only update pod status for pods with spec.nodeName set to itself"
        raise forbidden(attributes, f"{who} {cause}")
    if old.metadata.labels != new.metadata.labels:
        raise forbidden(attributes, f"{who} cannot update labels through pod status")
    if list(old.status.resourceClaimStatuses) != list(new.status.resourceClaimStatuses):
        raise forbidden(attributes, f"{who} cannot update resource claim statuses")


def _node(node: str, attributes: Attributes) -> None:
    who, name = f"node {quote(node)}", attributes.target.name
    new, old = attributes.object, attributes.old_object
    if not name and isinstance(new, Node):
        name = new.metadata.name
    if name != node:
        raise forbidden(attributes, f"{who} is not allowed to modify node {quote(name)}")
    if attributes.operation == "CREATE" and isinstance(new, Node):
        if new.spec.HasField("configSource"):
            cause = "is not allowed to create pods with a non-nil configSource"
            raise forbidden(attributes, f"{who} {cause}")
        if labels := forbidden_labels(_changed(new.metadata.labels, {})):
            cause = f"is not allowed to set the following labels: {', '.join(labels)}"
            raise forbidden(attributes, f"{who} {cause}")
    if isinstance(old, Node) and isinstance(new, Node):
        _check_node_update(who, attributes, old, new)


def _check_node_update(who: str, attributes: Attributes, old: Node, new: Node) -> None:
    if new.spec.HasField("configSource") and new.spec.configSource != old.spec.configSource:
        cause = "is not allowed to update configSource to a new non-nil configSource"
        raise forbidden(attributes, f"{who} {cause}")
    if list(new.spec.taints) != list(old.spec.taints):
        raise forbidden(attributes, f"{who} is not allowed to modify taints")
    if labels := forbidden_labels(_changed(new.metadata.labels, old.metadata.labels)):
        raise forbidden(attributes, f"is not allowed to modify labels: {', '.join(labels)}")


def _changed(new: Mapping[str, str], old: Mapping[str, str]) -> set[str]:
    """Keys whose values differ."""
    return {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)}


def forbidden_labels(keys: Iterable[str]) -> list[str]:
    """Those that a kubelet may neither set nor change, sorted."""
    return sorted(key for key in keys if not _may_label(key))


def _may_label(key: str) -> bool:
    namespace, separator, _ = key.partition("/")
    if not separator:
        return True
    if _within(namespace, _RESTRICTED):
        return False
    if not _within(namespace, "kubernetes.io") and not _within(namespace, "k8s.io"):
        return True
    own = any(_within(namespace, allowed) for allowed in _KUBELET_LABEL_NAMESPACES)
    return own or key in _KUBELET_LABELS


def _within(namespace: str, parent: str) -> bool:
    return namespace == parent or namespace.endswith(f".{parent}")


def _claim(node: str, attributes: Attributes) -> None:
    if attributes.target.subresource != "status":
        raise forbidden(attributes, "may only update PVC status")
    new, old = attributes.object, attributes.old_object
    if not isinstance(old, PersistentVolumeClaim) or not isinstance(new, PersistentVolumeClaim):
        raise forbidden(attributes, f"unexpected operation {quote(attributes.operation)}")
    if _without_status(old) != _without_status(new):
        cause = "is not allowed to update fields other than status.capacity and status.conditions"
        raise forbidden(attributes, f"node {quote(node)} {cause}")


def _without_status(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    """A copy without what kubelets may change."""
    copied = PersistentVolumeClaim()
    copied.CopyFrom(claim)
    copied.metadata.ClearField("resourceVersion")
    copied.metadata.ClearField("managedFields")
    for field in _STATUS_OF_CLAIM:
        copied.status.ClearField(field)
    return copied


def _lease(node: str, attributes: Attributes) -> None:
    if attributes.target.namespace != LEASE_NAMESPACE:
        cause = f"can only access leases in the {quote(LEASE_NAMESPACE)} system namespace"
        raise forbidden(attributes, cause)
    _check_name(node, attributes, "node lease")


def _csi_node(node: str, attributes: Attributes) -> None:
    _check_name(node, attributes, "CSINode")


def _check_name(node: str, attributes: Attributes, what: str) -> None:
    obj: Any = attributes.object
    name = obj.metadata.name if attributes.operation == "CREATE" else attributes.target.name
    if name != node:
        raise _another(attributes, what)


def _another(attributes: Attributes, what: str) -> ApiError:
    cause = f"can only access {what} with the same name as the requesting node"
    return forbidden(attributes, cause)
