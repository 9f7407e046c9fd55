"""What authorization is asked and what it answers.

Source: k8s.io/apiserver pkg/authorization/authorizer/interfaces.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from apiserver.verbs.interface import Selectors, Target, UserInfo

_COLLECTION_VERBS = frozenset({"list", "watch", "deletecollection"})
NO_SELECTORS = Selectors()


@dataclass(frozen=True, slots=True)
class Attributes:
    """Who wants to do what to which resource, or to which path.

    `verb` is Kubernetes' (get, list, watch, create, update, patch, delete, deletecollection, ...)
    or, when `path` is set, the HTTP method in lower case. With a `path` the request is for no
    resource and the other fields are empty. `field_selector` is what a list, watch or
    deletecollection is limited to, as the client sent it.
    """

    user: UserInfo
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""

    @property
    def resource_path(self) -> str:
        """`pods`, `pods/status`: as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason` explains an allowed request, or names what stood in the way of deciding."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """A rule on resources, as SelfSubjectRulesReview tells it and escalation checks compare it."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PathRule:
    """A rule on paths that are no resources."""

    verbs: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a user may do in a namespace. `error` is not empty when parts are missing."""

    resource_rules: Sequence[ResourceRule]
    path_rules: Sequence[PathRule]
    error: str = ""


class Authorizer(Protocol):
    """Decides without I/O: from caches that may lag behind storage by a moment."""

    def authorize(self, attributes: Attributes) -> Decision:
        """Never raises: what cannot be resolved is denied, and the reason says so."""


class RuleResolver(Protocol):
    def rules_for(self, user: UserInfo, namespace: str) -> Rules:
        """What the user may do in the namespace ("": cluster-wide only)."""


def for_target(
    user: UserInfo, verb: str, target: Target, selectors: Selectors = NO_SELECTORS
) -> Attributes:
    """The attributes of a request for a resource.

    A list or watch of `metadata.name=x` counts as being for the object x, as upstream has it: so
    may kubelets watch single Secrets.
    """
    resource, name = target.resource, target.name
    if not name and selectors.fields and verb in _COLLECTION_VERBS:
        name = named_by(selectors.fields)
    namespace = target.namespace
    if not resource.namespaced and resource.name == "namespaces" and not resource.group:
        namespace = name  # a Namespace is asked about within itself
    return Attributes(
        user,
        verb,
        resource.group,
        resource.name,
        target.subresource,
        namespace,
        name,
        field_selector=selectors.fields,
    )


def field_requirements(selector: str) -> dict[str, str]:
    """Field -> value of the terms `field=value`; other terms say nothing about a single value."""
    found = {}
    for term in selector.split(","):
        field, separator, value = term.partition("=")
        if separator and not field.endswith("!"):
            found[field.strip()] = value.removeprefix("=").strip()
    return found


def named_by(selector: str) -> str:
    """The name that a field selector limits a request to, or ""."""
    return field_requirements(selector).get("metadata.name", "")
