"""Nobody grants what they do not hold: the check on writes of RBAC objects.

A validating admission plugin, because that is where the finished object is seen; it is always on.
Roles need all rules of the role or verb `escalate`; bindings all rules of the role they refer to,
or verb `bind` on it.

Source: k8s.io/kubernetes pkg/registry/rbac/*/policybased/storage.go, pkg/registry/rbac/validation.
"""

from collections.abc import Sequence

from apiserver.admission import interface as admission
from apiserver.authentication import users
from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.authorization.interface import Attributes
from apiserver.authorization.messages import go_list, quote
from apiserver.authorization.rules import Rule, atoms, compact, covered
from podpath.api import errors, scheme
from podpath.api.scheme import Resource
from protos.k8s.rbac_v1_pb2 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

_GROUP = scheme.ROLES.group
_RESOURCES: frozenset[Resource] = frozenset(  # type: ignore[type-arg]
    {scheme.ROLES, scheme.CLUSTERROLES, scheme.ROLEBINDINGS, scheme.CLUSTERROLEBINDINGS}
)
_EVERYTHING = (
    Rule(frozenset("*"), frozenset("*"), frozenset("*")),
    Rule(frozenset("*"), paths=frozenset("*")),
)


class EscalationCheck:
    """Validating plugin; it cannot be disabled."""

    name = "RBACEscalationCheck"

    def __init__(self, authorizer: ClusterAuthorizer) -> None:
        self._authorizer = authorizer

    def handles(self, attributes: admission.Attributes) -> bool:
        return attributes.target.resource in _RESOURCES and attributes.operation in {
            "CREATE",
            "UPDATE",
        }

    async def validate(self, attributes: admission.Attributes) -> None:
        if users.MASTERS in attributes.user.groups:
            return
        obj, old = attributes.object, attributes.old_object
        if isinstance(obj, Role | ClusterRole):
            self._check_role(attributes, obj, old)
        elif isinstance(obj, RoleBinding | ClusterRoleBinding):
            self._check_binding(attributes, obj, old)

    def _check_role(
        self, attributes: admission.Attributes, role: Role | ClusterRole, old: object
    ) -> None:
        if isinstance(old, Role | ClusterRole) and _says_the_same(role, old):
            return
        resource = attributes.target.resource
        if self._may(attributes, "escalate", resource.name, role.metadata.name):
            return
        missing = self._missing(attributes, [Rule.of(rule) for rule in role.rules])
        if missing:
            raise self._forbidden(attributes, role.metadata.name, missing)
        aggregates = isinstance(role, ClusterRole) and role.HasField("aggregationRule")
        # It will hold whatever roles with the labels hold, some of them not written yet.
        if aggregates and self._missing(attributes, _EVERYTHING):
            cause = "must have cluster-admin privileges to use the aggregationRule"
            raise errors.forbidden(_GROUP, resource.name, role.metadata.name, cause)

    def _check_binding(
        self,
        attributes: admission.Attributes,
        binding: RoleBinding | ClusterRoleBinding,
        old: object,
    ) -> None:
        if isinstance(old, RoleBinding | ClusterRoleBinding) and (
            old.roleRef == binding.roleRef and list(old.subjects) == list(binding.subjects)
        ):
            return
        ref = binding.roleRef
        resource = "clusterroles" if ref.kind == "ClusterRole" else "roles"
        if self._may(attributes, "bind", resource, ref.name):
            return
        rules = self._authorizer.rbac.role_rules(ref, attributes.target.namespace)
        if rules is None:
            # Upstream names the binding's resource, with the role's name.
            raise errors.not_found(_GROUP, attributes.target.resource.name, ref.name)
        missing = self._missing(attributes, rules)
        if missing:
            raise self._forbidden(attributes, binding.metadata.name, missing)

    def _may(self, attributes: admission.Attributes, verb: str, resource: str, name: str) -> bool:
        asked = Attributes(
            attributes.user, verb, _GROUP, resource, "", attributes.target.namespace, name
        )
        return self._authorizer.authorize(asked).allowed

    def _missing(self, attributes: admission.Attributes, wanted: Sequence[Rule]) -> list[str]:
        held = self._authorizer.rbac.held_rules(attributes.user, attributes.target.namespace)
        found = (atom for rule in wanted for atom in atoms(rule) if not covered(atom, held))
        return compact(dict.fromkeys(found))

    def _forbidden(
        self, attributes: admission.Attributes, name: str, missing: list[str]
    ) -> errors.ApiError:
        user = attributes.user
        cause = (
            f"user {quote(user.name)} (groups={go_list(user.groups)}) is attempting to grant RBAC "
            "permissions not currently held:\n" + "\n".join(missing)
        )
        return errors.forbidden(_GROUP, attributes.target.resource.name, name, cause)


def _says_the_same(role: Role | ClusterRole, old: Role | ClusterRole) -> bool:
    if list(role.rules) != list(old.rules):
        return False
    if isinstance(role, ClusterRole) and isinstance(old, ClusterRole):
        return role.aggregationRule == old.aggregationRule
    return True
