"""The authorizers together: group system:masters, then the node rules, then RBAC.

The first that allows decides; when none does, their reasons are told together.

Source: k8s.io/apiserver pkg/authorization/union/union.go;
k8s.io/kubernetes pkg/kubeapiserver/authorizer/reload.go.
"""

from collections.abc import Sequence

from apiserver.authentication import users
from apiserver.authorization import node_rules
from apiserver.authorization.interface import Attributes, Authorizer, Decision, Rules
from apiserver.authorization.messages import forbidden
from apiserver.authorization.node import NodeAuthorizer
from apiserver.authorization.node_graph import NodeGraph
from apiserver.authorization.rbac import RbacAuthorizer
from apiserver.lister import ChangeSource, Lister
from apiserver.verbs.interface import UserInfo

_MASTERS = Decision(True)


class ClusterAuthorizer:
    """`--authorization-mode Node,RBAC`. Synchronous; build one per API server."""

    def __init__(self, lister: Lister, changes: ChangeSource) -> None:
        self.rbac = RbacAuthorizer(lister, changes)
        node = NodeAuthorizer(NodeGraph(changes), node_rules.RULES)
        self._parts: Sequence[Authorizer] = (node, self.rbac)

    def authorize(self, attributes: Attributes) -> Decision:
        if users.MASTERS in attributes.user.groups:
            return _MASTERS
        reasons = []
        for part in self._parts:
            decision = part.authorize(attributes)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))

    def require(self, attributes: Attributes) -> None:
        """Raises: ApiError Forbidden, worded as upstream, unless the request is allowed."""
        decision = self.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)

    def rules_for(self, user: UserInfo, namespace: str) -> Rules:
        """RBAC's rules; incomplete for kubelets, whose rights depend on their Pods."""
        rules = self.rbac.rules_for(user, namespace)
        if users.node_of(user) is None:
            return rules
        unknown = "node authorizer does not support user rule resolution"
        error = f"{rules.error}\n{unknown}" if rules.error else unknown
        return Rules(rules.resource_rules, rules.path_rules, error)
