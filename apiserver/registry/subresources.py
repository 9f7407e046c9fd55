"""What a subresource takes and gives where that is not the owner itself.

Both doors ask `body_of` which message a request to a subresource holds; the verbs ask for the
handler of a (resource, subresource) that no generic rule serves.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.scheme import Resource
from protos.k8s import authentication_v1_pb2, autoscaling_v1_pb2, meta_v1_pb2, policy_v1_pb2

Handler = Callable[[UserInfo, Target, Message], Awaitable[Message]]
"""Answers a POST to a subresource, or to a resource that is never stored (reviews)."""

Handlers = Mapping[tuple[Resource[Any], str], Handler]

# Kinds that have no resource of their own: they exist as subresources only.
STATUS = Resource("", "v1", "status", "Status", meta_v1_pb2.Status)
SCALE = Resource("autoscaling", "v1", "scale", "Scale", autoscaling_v1_pb2.Scale)
EVICTION = Resource("policy", "v1", "eviction", "Eviction", policy_v1_pb2.Eviction)
TOKEN_REQUEST = Resource(
    "authentication.k8s.io", "v1", "token", "TokenRequest", authentication_v1_pb2.TokenRequest
)

_BODIES: dict[tuple[Resource[Any], str], Resource[Any]] = {
    (scheme.PODS, "binding"): scheme.BINDINGS,
    (scheme.PODS, "eviction"): EVICTION,
    (scheme.SERVICEACCOUNTS, "token"): TOKEN_REQUEST,
}


def body_of(resource: Resource[Any], subresource: str) -> Resource[Any]:
    """The kind of a request's body: `Scale` for `scale`, `Binding` for pods' `binding`, ..."""
    if not subresource:
        return resource
    if subresource == "scale":
        return SCALE
    return _BODIES.get((resource, subresource), resource)


STREAMING = frozenset({"attach", "exec", "log", "portforward", "proxy"})
"""Subresources that the HTTPS door serves by connecting somewhere, after `Verbs.connect`."""

REVIEWS: frozenset[Resource[Any]] = frozenset(
    {
        scheme.SELFSUBJECTREVIEWS,
        scheme.TOKENREVIEWS,
        scheme.LOCALSUBJECTACCESSREVIEWS,
        scheme.SELFSUBJECTACCESSREVIEWS,
        scheme.SELFSUBJECTRULESREVIEWS,
        scheme.SUBJECTACCESSREVIEWS,
    }
)
"""Resources that are answered by a handler and never stored."""
