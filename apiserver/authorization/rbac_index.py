"""All RBAC objects, arranged by who they are about.

Built from the caches when something has changed, then read by every decision.

Source: k8s.io/kubernetes pkg/registry/rbac/validation/rule.go (DefaultRuleResolver);
pkg/controller/clusterroleaggregation (aggregation, evaluated here instead).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from apiserver.authentication import users
from apiserver.authorization.messages import quote
from apiserver.authorization.rules import Rule
from apiserver.lister import Lister
from apiserver.verbs.interface import UserInfo
from podpath.api import scheme
from protos.k8s.meta_v1_pb2 import LabelSelector
from protos.k8s.rbac_v1_pb2 import (
    ClusterRole,
    ClusterRoleBinding,
    RoleBinding,
    RoleRef,
    Subject,
)

USER, GROUP, SERVICE_ACCOUNT = "User", "Group", "ServiceAccount"

SubjectKey = tuple[str, str]  # (User or Group, name); a ServiceAccount is the user it acts as


@dataclass(frozen=True, slots=True)
class Grant:
    """One subject of one binding: the rules it gets, and how a decision names it."""

    rules: tuple[Rule, ...]
    reason: str
    missing: str = ""  # the role that the binding refers to and nobody finds


@dataclass(slots=True)
class RbacIndex:
    """Grants by subject, cluster-wide and for each namespace; the rules of each role."""

    cluster: Mapping[SubjectKey, Sequence[Grant]]
    namespaced: Mapping[str, Mapping[SubjectKey, Sequence[Grant]]]
    cluster_roles: Mapping[str, tuple[Rule, ...]]
    roles: Mapping[tuple[str, str], tuple[Rule, ...]]

    def grants(self, user: UserInfo, namespace: str) -> Iterator[Grant]:
        """The user's grants: cluster-wide ones first, then the namespace's ("": none)."""
        keys = [(USER, user.name), *((GROUP, group) for group in user.groups)]
        for key in keys:
            yield from self.cluster.get(key, ())
        local = self.namespaced.get(namespace) if namespace else None
        if local:
            for key in keys:
                yield from local.get(key, ())

    def rules_of(self, ref: RoleRef, namespace: str) -> tuple[Rule, ...] | None:
        """The rules of the role that a binding in `namespace` refers to; None: no such role."""
        if ref.kind == "ClusterRole":
            return self.cluster_roles.get(ref.name)
        return self.roles.get((namespace, ref.name))


def build(lister: Lister) -> RbacIndex:
    """The index of what the caches hold now."""
    cluster_roles = _cluster_roles(lister.list(scheme.CLUSTERROLES))
    roles = {
        (role.metadata.namespace, role.metadata.name): tuple(Rule.of(r) for r in role.rules)
        for role in lister.list(scheme.ROLES)
    }
    index = RbacIndex({}, {}, cluster_roles, roles)
    cluster: dict[SubjectKey, list[Grant]] = defaultdict(list)
    for cluster_binding in lister.list(scheme.CLUSTERROLEBINDINGS):
        _add(cluster, index, cluster_binding, "")
    namespaced: dict[str, dict[SubjectKey, list[Grant]]] = defaultdict(lambda: defaultdict(list))
    for binding in lister.list(scheme.ROLEBINDINGS):
        namespace = binding.metadata.namespace
        _add(namespaced[namespace], index, binding, namespace)
    index.cluster = dict(cluster)
    index.namespaced = {name: dict(grants) for name, grants in namespaced.items()}
    return index


def _add(
    grants: dict[SubjectKey, list[Grant]],
    index: RbacIndex,
    binding: RoleBinding | ClusterRoleBinding,
    namespace: str,
) -> None:
    ref = binding.roleRef
    rules = index.rules_of(ref, namespace)
    missing = f"{ref.kind.lower()}.{scheme.ROLES.group} {quote(ref.name)} not found"
    kind, name = "ClusterRoleBinding", binding.metadata.name
    if namespace:
        kind, name = "RoleBinding", f"{name}/{namespace}"
    head = f"RBAC: allowed by {kind} {quote(name)} of {ref.kind} {quote(ref.name)} to "
    for subject in binding.subjects:
        key, description = _subject(subject, namespace)
        grant = Grant(rules or (), head + description, "" if rules is not None else missing)
        grants[key].append(grant)


def _subject(subject: Subject, namespace: str) -> tuple[SubjectKey, str]:
    if subject.kind != SERVICE_ACCOUNT:
        return (subject.kind, subject.name), f"{subject.kind} {quote(subject.name)}"
    namespace = subject.namespace or namespace
    description = f"{SERVICE_ACCOUNT} {quote(f'{subject.name}/{namespace}')}"
    return (USER, users.service_account_name(namespace, subject.name)), description


def _cluster_roles(roles: Sequence[ClusterRole]) -> dict[str, tuple[Rule, ...]]:
    """Rules by name. A role with an aggregation rule has those of the roles it selects."""
    own = {role.metadata.name: role for role in roles}
    return {name: tuple(_aggregated(role, own)) for name, role in own.items()}


def _aggregated(role: ClusterRole, roles: Mapping[str, ClusterRole]) -> Iterable[Rule]:
    if not role.HasField("aggregationRule"):
        return [Rule.of(rule) for rule in role.rules]
    found: dict[Rule, None] = {}
    waiting, seen = [role], {role.metadata.name}
    while waiting:  # selected roles may aggregate others; `seen` ends circles
        current = waiting.pop()
        if not current.HasField("aggregationRule"):
            found.update((Rule.of(rule), None) for rule in current.rules)
            continue
        for name, other in roles.items():
            if name not in seen and _selected(current, other):
                seen.add(name)
                waiting.append(other)
    return found


def _selected(role: ClusterRole, other: ClusterRole) -> bool:
    labels = other.metadata.labels
    return any(_matches(s, labels) for s in role.aggregationRule.clusterRoleSelectors)


def _matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Source: k8s.io/apimachinery LabelSelectorAsSelector (an empty one selects everything)."""
    if any(labels.get(key) != value for key, value in selector.matchLabels.items()):
        return False
    for term in selector.matchExpressions:
        present = term.key in labels
        fits = {
            "In": present and labels.get(term.key) in term.values,
            "NotIn": labels.get(term.key) not in term.values,
            "Exists": present,
            "DoesNotExist": not present,
        }.get(term.operator, False)
        if not fits:
            return False
    return True
