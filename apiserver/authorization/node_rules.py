"""The rules that hold for all kubelets alike: those of role system:node.

Source: k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go (NodeRules).
"""

from apiserver.authorization.rules import Rule
from apiserver.bootstrap.roles import rules
from apiserver.bootstrap.roles_components import ROLES

RULES = tuple(Rule.of(rule) for rule in rules(ROLES["system:node"]))
