"""Roles and their bindings.

Source: pkg/apis/rbac/validation/validation.go.
"""

from apiserver.validation.metadata import path_segment
from podpath.api import names
from podpath.api.errors import FieldError, GoValue, invalid, not_supported, required
from podpath.api.go_text import quote
from podpath.api.selector_rules import validate_message
from protos.k8s.rbac_v1_pb2 import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    Subject,
)

_GROUP = "rbac.authorization.k8s.io"


def validate_role(role: Role) -> list[FieldError]:
    found: list[FieldError] = []
    for index, rule in enumerate(role.rules):
        found += _rule(rule, f"rules[{index}]", namespaced=True)
    return found


def validate_cluster_role(role: ClusterRole) -> list[FieldError]:
    found: list[FieldError] = []
    for index, rule in enumerate(role.rules):
        found += _rule(rule, f"rules[{index}]", namespaced=False)
    if role.HasField("aggregationRule"):
        here = "aggregationRule.clusterRoleSelectors"
        selectors = role.aggregationRule.clusterRoleSelectors
        if not selectors:
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            found.append(required(here, detail))
        for index, selector in enumerate(selectors):
            found += validate_message(selector, f"{here}[{index}]")
    return found


def _rule(rule: PolicyRule, path: str, namespaced: bool) -> list[FieldError]:
    found: list[FieldError] = []
    if not rule.verbs:
        found.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    if rule.nonResourceURLs:
        here, urls = f"{path}.nonResourceURLs", list(rule.nonResourceURLs)
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            found.append(invalid(here, urls, detail))
        if rule.apiGroups or rule.resources or rule.resourceNames:
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            found.append(invalid(here, urls, detail))
        return found
    if not rule.apiGroups:
        detail = "resource rules must supply at least one api group"
        found.append(required(f"{path}.apiGroups", detail))
    if not rule.resources:
        detail = "resource rules must supply at least one resource"
        found.append(required(f"{path}.resources", detail))
    return found


def validate_role_binding(binding: RoleBinding) -> list[FieldError]:
    return _binding(binding, ("Role", "ClusterRole"), namespaced=True)


def validate_cluster_role_binding(binding: ClusterRoleBinding) -> list[FieldError]:
    return _binding(binding, ("ClusterRole",), namespaced=False)


def _binding(
    binding: RoleBinding | ClusterRoleBinding, kinds: tuple[str, ...], namespaced: bool
) -> list[FieldError]:
    role = binding.roleRef
    found: list[FieldError] = []
    if role.apiGroup != _GROUP:
        found.append(not_supported("roleRef.apiGroup", role.apiGroup, (_GROUP,)))
    if role.kind not in kinds:
        found.append(not_supported("roleRef.kind", role.kind, kinds))
    if not role.name:
        found.append(required("roleRef.name"))
    else:
        found += [invalid("roleRef.name", role.name, text) for text in path_segment(role.name)]
    for index, subject in enumerate(binding.subjects):
        found += _subject(subject, f"subjects[{index}]", namespaced)
    return found


def _subject(subject: Subject, path: str, namespaced: bool) -> list[FieldError]:
    found = [] if subject.name else [required(f"{path}.name")]
    if subject.kind == "ServiceAccount":
        if subject.name:
            texts = names.dns_subdomain_problems(subject.name)
            found += [invalid(f"{path}.name", subject.name, text) for text in texts]
        if subject.apiGroup:
            found.append(not_supported(f"{path}.apiGroup", subject.apiGroup, ("",)))
        if not namespaced and not subject.namespace:
            found.append(required(f"{path}.namespace"))
    elif subject.kind in {"User", "Group"}:
        if subject.apiGroup != _GROUP:
            found.append(not_supported(f"{path}.apiGroup", subject.apiGroup, (_GROUP,)))
    else:
        kinds = ("ServiceAccount", "User", "Group")
        found.append(not_supported(f"{path}.kind", subject.kind, kinds))
    return found


def validate_role_binding_update(new: RoleBinding, old: RoleBinding) -> list[FieldError]:
    return validate_role_binding(new) + _same_role(new, old)


def validate_cluster_role_binding_update(
    new: ClusterRoleBinding, old: ClusterRoleBinding
) -> list[FieldError]:
    return validate_cluster_role_binding(new) + _same_role(new, old)


def _same_role(
    new: RoleBinding | ClusterRoleBinding, old: RoleBinding | ClusterRoleBinding
) -> list[FieldError]:
    if new.roleRef == old.roleRef:
        return []
    role = new.roleRef
    told = (
        f"rbac.RoleRef{{APIGroup:{quote(role.apiGroup)}, Kind:{quote(role.kind)}, "
        f"Name:{quote(role.name)}}}"
    )
    return [invalid("roleRef", GoValue(told), "cannot change roleRef")]
