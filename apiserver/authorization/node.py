"""What kubelets may do: their own Node, Lease and CSINode, their own Pods and what these refer to.

Who may write what is refined by admission (NodeRestriction), which sees the objects.

Source: k8s.io/kubernetes plugin/pkg/auth/authorizer/node/node_authorizer.go.
"""

from collections.abc import Callable, Sequence

from apiserver.authentication import users
from apiserver.authorization.interface import Attributes, Decision, field_requirements
from apiserver.authorization.messages import quote
from apiserver.authorization.node_graph import NodeGraph
from apiserver.authorization.rules import Rule

LEASE_NAMESPACE = "kube-node-lease"
ALLOWED = Decision(True)
DENIED = Decision(False)

_OWN_OBJECT_VERBS = frozenset({"get", "create", "update", "patch", "delete"})
_READ_VERBS = frozenset({"get", "list", "watch"})


class NodeAuthorizer:
    """Decides for users `system:node:NAME` of group `system:nodes`; denies all others.

    `rules` are what nodes may do uniformly (`system:node`'s), for resources not treated here.
    """

    def __init__(self, graph: NodeGraph, rules: Sequence[Rule]) -> None:
        self._graph = graph
        self._rules = tuple(rules)
        self._special: dict[tuple[str, str], Callable[[str, Attributes], Decision]] = {
            ("", "secrets"): self._read_namespaced,
            ("", "configmaps"): self._read_namespaced,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._get,
            ("storage.k8s.io", "volumeattachments"): self._get,
            ("", "serviceaccounts"): self._create_token,
            ("coordination.k8s.io", "leases"): _lease,
            ("storage.k8s.io", "csinodes"): _csi_node,
            ("", "nodes"): _node,
            ("", "pods"): self._pod,
        }

    def authorize(self, attributes: Attributes) -> Decision:
        node = users.node_of(attributes.user)
        if node is None:
            return DENIED
        if not node:
            return Decision(False, f"unknown node for user {quote(attributes.user.name)}")
        special = self._special.get((attributes.group, attributes.resource))
        if special is not None:
            return special(node, attributes)
        return ALLOWED if any(rule.allows(attributes) for rule in self._rules) else DENIED

    def _related(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.name:
            return Decision(False, "No Object name found")
        found = self._graph.related(
            node, attributes.resource, attributes.namespace, attributes.name
        )
        if found:
            return ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _read_namespaced(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _READ_VERBS:
            return Decision(False, "can only read resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot read subresource")
        if not attributes.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, attributes)

    def _get(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, attributes)

    def _claim(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource != "status":
            return self._get(node, attributes)
        if attributes.verb not in {"update", "patch"}:
            return Decision(False, "can only get/update/patch this type")
        return self._related(node, attributes)

    def _create_token(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "create" or not attributes.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if attributes.subresource != "token":
            return Decision(False, "can only create token subresource of serviceaccount")
        return self._related(node, attributes)

    def _pod(self, node: str, attributes: Attributes) -> Decision:
        verb = attributes.verb
        if attributes.subresource == "status":
            return ALLOWED if verb in {"update", "patch"} else DENIED
        if attributes.subresource == "eviction":
            return ALLOWED if verb == "create" else DENIED
        if attributes.subresource:
            return DENIED
        if verb == "get":
            return self._related(node, attributes)
        if verb in {"list", "watch"}:
            return self._list_pods(node, attributes)
        # Mirror Pods; NodeRestriction sees to it that they are this node's.
        return ALLOWED if verb in {"create", "delete"} else DENIED

    def _list_pods(self, node: str, attributes: Attributes) -> Decision:
        if field_requirements(attributes.field_selector).get("spec.nodeName") == node:
            return ALLOWED
        if attributes.name:
            return self._related(node, attributes)
        return Decision(False, "can only list/watch pods with spec.nodeName field selector")


def _node(node: str, attributes: Attributes) -> Decision:
    verb = attributes.verb
    if attributes.subresource == "status":
        return ALLOWED if verb in {"update", "patch"} else DENIED
    if attributes.subresource:
        return DENIED
    if verb in {"create", "update", "patch"}:
        return ALLOWED  # NodeRestriction sees to it that it is its own
    if verb not in _READ_VERBS:
        return DENIED
    if attributes.name == node:
        return ALLOWED
    what = f"'{attributes.name}'" if attributes.name else "all nodes"
    return Decision(False, f"node '{node}' cannot read {what}, only its own Node object")


def _lease(node: str, attributes: Attributes) -> Decision:
    if attributes.verb not in _OWN_OBJECT_VERBS:
        return Decision(False, "can only get, create, update, patch, or delete a node lease")
    if attributes.namespace != LEASE_NAMESPACE:
        return Decision(
            False, f"can only access leases in the {quote(LEASE_NAMESPACE)} system namespace"
        )
    if attributes.verb != "create" and attributes.name != node:
        return Decision(
            False, "can only access node lease with the same name as the requesting node"
        )
    return ALLOWED


def _csi_node(node: str, attributes: Attributes) -> Decision:
    if attributes.verb not in _OWN_OBJECT_VERBS:
        return Decision(False, "can only get, create, update, patch, or delete a CSINode")
    if attributes.subresource:
        return Decision(False, "cannot authorize CSINode subresources")
    if attributes.verb != "create" and attributes.name != node:
        return Decision(False, "can only access CSINode with the same name as the requesting node")
    return ALLOWED
