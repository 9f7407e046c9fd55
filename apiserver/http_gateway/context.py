"""What the handlers of the HTTPS door work with, and one request on its way through them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from aiohttp import web
from google.protobuf.message import Message

from apiserver.authorization.interface import Authorizer
from apiserver.http_gateway.request import Query
from apiserver.verbs.interface import UserInfo, Verbs
from podpath.api.scheme import Resource
from podpath.component_base.clock import Clock


class Authenticator(Protocol):
    def authenticate(self, peer_cert_der: bytes | None, authorization: str | None) -> UserInfo:
        """Raises: ApiError Unauthorized."""


class OpenIdDocuments(Protocol):
    """What others need to verify the service account tokens that this server issues."""

    def jwks(self) -> bytes: ...

    def configuration(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Check:
    """One health check: its name, and whether it passes now."""

    name: str
    passes: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Context:
    """The door's parts. `resources` are those that discovery shows."""

    verbs: Verbs
    authenticator: Authenticator
    authorizer: Authorizer
    resources: Sequence[Resource[Message]]
    clock: Clock
    ready_checks: Sequence[Check] = ()
    openid: OpenIdDocuments | None = None
    random: Random = field(default_factory=Random)


@dataclass(slots=True)
class Call:
    """One request: who asks, how, and what the client is to be warned of."""

    request: web.BaseRequest
    user: UserInfo
    path: str
    query: Query
    accept: str
    audit_id: str
    warnings: list[str] = field(default_factory=list)

    @property
    def method(self) -> str:
        return self.request.method

    def header(self, name: str) -> str:
        return self.request.headers.get(name, "")
