"""What authorization is asked and what it answers.

Source: k8s.io/apiserver pkg/authorization/authorizer/interfaces.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from apiserver.verbs.interface import Target, UserInfo


@dataclass(frozen=True, slots=True)
class Attributes:
    """Who wants to do what to which resource, or to which path.

    `verb` is Kubernetes' (get, list, watch, create, update, patch, delete, deletecollection, ...)
    or, when `path` is set, the HTTP method in lower case. With a `path` the request is for no
    resource and the other fields are empty.
    """

    user: UserInfo
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

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


def for_target(user: UserInfo, verb: str, target: Target) -> Attributes:
    """The attributes of a request for a resource."""
    resource = target.resource
    return Attributes(
        user,
        verb,
        resource.group,
        resource.name,
        target.subresource,
        # A Namespace is asked about within itself, as upstream's request resolver has it.
        target.name if resource.name == "namespaces" and not resource.group else target.namespace,
        target.name,
    )
