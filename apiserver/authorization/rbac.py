"""Role-based access control over the rbac/v1 objects in the caches.

A decision costs a dictionary lookup after the first of its kind: verdicts are remembered for
(user, verb, resource, namespace) until an RBAC object changes.

Source: k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac/rbac.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from apiserver.authorization.interface import (
    Attributes,
    Decision,
    PathRule,
    ResourceRule,
    Rules,
)
from apiserver.authorization.rbac_index import RbacIndex, build
from apiserver.authorization.rules import Rule
from apiserver.lister import ChangeSource, Lister
from apiserver.verbs.interface import UserInfo
from podpath.api import scheme
from protos.k8s.rbac_v1_pb2 import RoleRef

VERDICTS_MAX = 32768


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The decision for any object, and for objects that rules name. `otherwise` denies, or allows
    whatever the name."""

    otherwise: Decision
    named: Mapping[str, Decision]


class RbacAuthorizer:
    """Decides by bindings and roles. Subscribes to their changes once, at construction."""

    def __init__(self, lister: Lister, changes: ChangeSource) -> None:
        self._lister = lister
        self._index: RbacIndex | None = None
        self._verdicts: dict[tuple[object, ...], _Verdict] = {}
        changes.subscribe(scheme.ROLES, self._forget)
        changes.subscribe(scheme.ROLEBINDINGS, self._forget)
        changes.subscribe(scheme.CLUSTERROLES, self._forget)
        changes.subscribe(scheme.CLUSTERROLEBINDINGS, self._forget)

    def _forget(self, _old: object, _new: object) -> None:
        self._index = None
        self._verdicts.clear()

    @property
    def index(self) -> RbacIndex:
        """Rebuilt when something has changed since it was last asked for."""
        if self._index is None:
            self._index = build(self._lister)
        return self._index

    def authorize(self, attributes: Attributes) -> Decision:
        a = attributes
        user = a.user
        key = (
            user.name,
            user.groups,
            a.verb,
            a.group,
            a.resource,
            a.subresource,
            a.namespace,
            a.path,
        )
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._judge(attributes)
            if len(self._verdicts) >= VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[key] = verdict
        if verdict.named:
            return verdict.named.get(a.name, verdict.otherwise)
        return verdict.otherwise

    def _judge(self, attributes: Attributes) -> _Verdict:
        named: dict[str, Decision] = {}
        missing: dict[str, None] = {}
        for grant in self.index.grants(attributes.user, attributes.namespace):
            if grant.missing:
                missing[grant.missing] = None
            for rule in grant.rules:
                if attributes.path:
                    fits = rule.allows_path(attributes.verb, attributes.path)
                else:
                    fits = rule.allows_kind(attributes)
                if not fits:
                    continue
                allowed = Decision(True, grant.reason)
                if not rule.names:
                    return _Verdict(allowed, named)
                for name in rule.names:
                    named.setdefault(name, allowed)
        return _Verdict(Decision(False, _missing_roles(missing)), named)

    def rules_for(self, user: UserInfo, namespace: str) -> Rules:
        """Source: SelfSubjectRulesReview's half of rbac.go (RulesFor)."""
        found: dict[Rule, None] = {}
        missing: dict[str, None] = {}
        for grant in self.index.grants(user, namespace):
            found.update((rule, None) for rule in grant.rules)
            if grant.missing:
                missing[grant.missing] = None
        return Rules(
            [
                ResourceRule(
                    _sorted(r.verbs), _sorted(r.groups), _sorted(r.resources), _sorted(r.names)
                )
                for r in found
                if r.resources
            ],
            [PathRule(_sorted(r.verbs), _sorted(r.paths)) for r in found if r.paths],
            "\n".join(missing),
        )

    def held_rules(self, user: UserInfo, namespace: str) -> list[Rule]:
        """All rules of the user in the namespace, for escalation checks."""
        grants = self.index.grants(user, namespace)
        return list(dict.fromkeys(rule for grant in grants for rule in grant.rules))

    def role_rules(self, ref: RoleRef, namespace: str) -> tuple[Rule, ...] | None:
        """The rules of the role a binding refers to; None: there is none."""
        return self.index.rules_of(ref, namespace)


def _missing_roles(missing: Mapping[str, None]) -> str:
    if not missing:
        return ""
    texts = list(missing)
    return f"RBAC: {texts[0]}" if len(texts) == 1 else f"RBAC: [{', '.join(texts)}]"


def _sorted(values: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(values))
