"""Policy rules: what one says, whether it lets a request pass, whether it covers another rule.

Source: k8s.io/kubernetes pkg/apis/rbac/v1/evaluation_helpers.go;
k8s.io/component-helpers auth/rbac/validation/policy_comparator.go.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from apiserver.authorization.interface import Attributes
from apiserver.authorization.messages import quote
from protos.k8s.rbac_v1_pb2 import PolicyRule

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """A PolicyRule, ready to be compared. Empty `names` stand for all names."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rule: PolicyRule) -> "Rule":
        return cls(
            frozenset(rule.verbs),
            frozenset(rule.apiGroups),
            frozenset(rule.resources),
            frozenset(rule.resourceNames),
            frozenset(rule.nonResourceURLs),
        )

    def allows(self, attributes: Attributes) -> bool:
        """True if the rule lets this request pass."""
        if attributes.path:
            return self.allows_path(attributes.verb, attributes.path)
        return self.allows_kind(attributes) and (not self.names or attributes.name in self.names)

    def allows_kind(self, attributes: Attributes) -> bool:
        """True if verb, group and resource fit, whatever the object's name."""
        return (
            _has(self.verbs, attributes.verb)
            and _has(self.groups, attributes.group)
            and _has_resource(self.resources, attributes.resource_path, attributes.subresource)
        )

    def allows_path(self, verb: str, path: str) -> bool:
        return _has(self.verbs, verb) and any(_fits(pattern, path) for pattern in self.paths)


def _has(values: frozenset[str], value: str) -> bool:
    return ALL in values or value in values


def _has_resource(resources: frozenset[str], resource_path: str, subresource: str) -> bool:
    if ALL in resources or resource_path in resources:
        return True
    return bool(subresource) and f"*/{subresource}" in resources


def _fits(pattern: str, path: str) -> bool:
    if pattern in (ALL, path):
        return True
    return pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL))


@dataclass(frozen=True, slots=True, order=True)
class Atom:
    """The smallest grant: one verb on one resource of one group and one name ("": all), or on one
    path."""

    verb: str
    group: str = ""
    resource: str = ""
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        """As upstream prints a rule: `{APIGroups:["apps"], Resources:["x"], Verbs:["get"]}`."""
        return compact([self])[0]


def atoms(rule: Rule) -> Iterator[Atom]:
    """All grants of a rule, in a stable order."""
    for verb in sorted(rule.verbs):
        for path in sorted(rule.paths):
            yield Atom(verb, path=path)
        for group in sorted(rule.groups):
            for resource in sorted(rule.resources):
                for name in sorted(rule.names) or [""]:
                    yield Atom(verb, group, resource, name)


def covered(atom: Atom, held: Iterable[Rule]) -> bool:
    """True if one of the rules held grants at least this."""
    return any(_covers(rule, atom) for rule in held)


def _covers(rule: Rule, atom: Atom) -> bool:
    if not _has(rule.verbs, atom.verb):
        return False
    if atom.path:
        return any(_fits_pattern(pattern, atom.path) for pattern in rule.paths)
    return (
        _has(rule.groups, atom.group)
        and _covers_resource(rule.resources, atom.resource)
        and (not rule.names or (atom.name != "" and atom.name in rule.names))
    )


def _covers_resource(held: frozenset[str], wanted: str) -> bool:
    if ALL in held or wanted in held:
        return True
    _, separator, subresource = wanted.partition("/")
    return bool(separator) and f"*/{subresource}" in held


def _fits_pattern(held: str, wanted: str) -> bool:
    """True if every path that `wanted` stands for fits `held` too."""
    if held == wanted:
        return True
    return held.endswith(ALL) and wanted.startswith(held[:-1])


def compact(missing: Iterable[Atom]) -> list[str]:
    """Grants as upstream lists them: the verbs of one resource together, sorted."""
    verbs: dict[tuple[str, str, str, str], list[str]] = {}
    for atom in missing:
        verbs.setdefault((atom.group, atom.resource, atom.name, atom.path), []).append(atom.verb)
    return sorted(_text(key, found) for key, found in verbs.items())


def _text(key: tuple[str, str, str, str], verbs: list[str]) -> str:
    group, resource, name, path = key
    parts = [f"NonResourceURLs:[{quote(path)}]"] if path else []
    if not path:
        parts += [f"APIGroups:[{quote(group)}]", f"Resources:[{quote(resource)}]"]
        if name:
            parts.append(f"ResourceNames:[{quote(name)}]")
    parts.append("Verbs:[" + " ".join(quote(verb) for verb in verbs) + "]")
    return "{" + ", ".join(parts) + "}"
