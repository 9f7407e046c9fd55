"""Who may use the kubelet's server: a client certificate of the CA, and the API server's consent.

Source: pkg/kubelet/server/auth.go, cmd/kubelet/app/auth.go.
"""

from dataclasses import dataclass
from typing import Any

from podpath.api.scheme import SUBJECTACCESSREVIEWS
from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from protos.k8s.authorization_v1_pb2 import SubjectAccessReview

ALLOWED_S = 300.0
DENIED_S = 30.0
_CACHE_MAX = 1024
_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """User and groups, from the certificate's common name and organizations."""

    user: str
    groups: tuple[str, ...] = ()


def caller_of(certificate: dict[str, Any] | None) -> Caller | None:
    """From `ssl.SSLSocket.getpeercert()`; None without a certificate that names a user."""
    if not certificate:
        return None
    user = ""
    groups: list[str] = []
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                user = value
            elif key == "organizationName":
                groups.append(value)
    return Caller(user, (*groups, "system:authenticated")) if user else None


def attributes_of(method: str, path: str) -> tuple[str, tuple[str, ...]]:
    """(verb, subresources of `nodes`, any of which suffices), as upstream asks for them."""
    verb = _VERBS.get(method, "get")
    first = path.strip("/").split("/", 1)[0]
    special = {
        "stats": ("stats",),
        "metrics": ("metrics",),
        "logs": ("log",),
        "checkpoint": ("checkpoint",),
        "pods": ("pods", "proxy"),
        "runningpods": ("pods", "proxy"),
        "healthz": ("healthz", "proxy"),
        "configz": ("configz", "proxy"),
    }
    return verb, special.get(first, ("proxy",))


class Authorizer:
    """Asks by SubjectAccessReview and remembers the answers for a while."""

    def __init__(self, client: Client, clock: Clock, node: str) -> None:
        self._client = client
        self._clock = clock
        self._node = node
        self._answers: dict[tuple[Caller, str, str], tuple[bool, float]] = {}

    async def allows(self, caller: Caller, method: str, path: str) -> bool:
        """Raises: ApiError."""
        verb, subresources = attributes_of(method, path)
        for subresource in subresources:
            if await self._ask(caller, verb, subresource):
                return True
        return False

    async def _ask(self, caller: Caller, verb: str, subresource: str) -> bool:
        key = (caller, verb, subresource)
        now = self._clock.monotonic()
        known = self._answers.get(key)
        if known is not None and now < known[1]:
            return known[0]
        review = SubjectAccessReview()
        review.spec.user = caller.user
        review.spec.groups.extend(caller.groups)
        asked = review.spec.resourceAttributes
        asked.verb, asked.resource, asked.subresource = verb, "nodes", subresource
        asked.version, asked.name = "v1", self._node
        answer = await self._client.create(SUBJECTACCESSREVIEWS, review)
        allowed = answer.status.allowed
        if len(self._answers) >= _CACHE_MAX:
            self._answers.clear()
        self._answers[key] = (allowed, now + (ALLOWED_S if allowed else DENIED_S))
        return allowed
