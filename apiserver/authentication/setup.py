"""Puts authentication together from the files that flags name.

Source: k8s.io/kubernetes pkg/kubeapiserver/options/authentication.go.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from apiserver.admission.interface import Attributes
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.authentication import service_account_tokens, static_tokens
from apiserver.authentication.authenticator import Authenticator
from apiserver.authentication.bootstrap_tokens import BootstrapTokens
from apiserver.authentication.certificates import CertificateUsers
from apiserver.authentication.interface import TokenAuthenticator
from apiserver.authentication.reviews import SelfSubjectReviews, TokenReviews
from apiserver.authentication.service_account_tokens import (
    KeyFileError,
    PublicKey,
    ServiceAccountTokens,
    TokenSigner,
)
from apiserver.authentication.token_request import TokenRequests
from apiserver.authorization.authorizer import ClusterAuthorizer
from apiserver.authorization.reviews import AccessReviews
from apiserver.lister import Lister
from apiserver.registry.subresources import Handler
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.scheme import Resource
from podpath.component_base.clock import Clock

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class AuthenticationConfig:
    """As the flags of the same names (`--service-account-signing-key-file`, ...).

    An empty path leaves that part out; `service_account_key_files` default to the signing key's
    public half, `api_audiences` to the issuer.
    """

    token_auth_file: str = ""
    bootstrap_tokens: bool = False
    service_account_signing_key_file: str = ""
    service_account_key_files: tuple[str, ...] = ()
    service_account_issuer: str = DEFAULT_ISSUER
    service_account_extend_token_expiration: bool = True
    api_audiences: tuple[str, ...] = ()
    anonymous_auth: bool = True

    @property
    def audiences(self) -> tuple[str, ...]:
        return self.api_audiences or (self.service_account_issuer,)


def build_authenticator(
    config: AuthenticationConfig, lister: Lister, clock: Clock
) -> Authenticator:
    """Raises: OSError, TokenFileError, KeyFileError; their messages name the file."""
    tokens: list[TokenAuthenticator] = []
    if config.token_auth_file:
        tokens.append(static_tokens.load(Path(config.token_auth_file)))
    if keys := _public_keys(config):
        issuers = [config.service_account_issuer]
        tokens.append(ServiceAccountTokens(keys, issuers, lister, clock))
    if config.bootstrap_tokens:
        tokens.append(BootstrapTokens(lister, clock))
    return Authenticator(
        CertificateUsers(clock), tokens, config.audiences, anonymous=config.anonymous_auth
    )


def _public_keys(config: AuthenticationConfig) -> Sequence[PublicKey]:
    files = config.service_account_key_files or (config.service_account_signing_key_file,)
    return [_load(path, service_account_tokens.load_public_key) for path in files if path]


def _load(path: str, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(Path(path).read_bytes())
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error


def build_handlers(
    config: AuthenticationConfig,
    authenticator: Authenticator,
    authorizer: ClusterAuthorizer,
    lister: Lister,
    clock: Clock,
    new_uid: Callable[[], str],
) -> dict[tuple[Resource[Any], str], Handler]:
    """What answers POSTs to the reviews and to serviceaccounts/token (only with a signing key)."""
    access = AccessReviews(authorizer, authorizer)
    handlers: dict[tuple[Resource[Any], str], Handler] = {
        (scheme.TOKENREVIEWS, ""): TokenReviews(authenticator).create,
        (scheme.SELFSUBJECTREVIEWS, ""): SelfSubjectReviews(clock).create,
        (scheme.SUBJECTACCESSREVIEWS, ""): access.subject,
        (scheme.LOCALSUBJECTACCESSREVIEWS, ""): access.local,
        (scheme.SELFSUBJECTACCESSREVIEWS, ""): access.own,
        (scheme.SELFSUBJECTRULESREVIEWS, ""): access.own_rules,
    }
    if config.service_account_signing_key_file:
        key = _load(
            config.service_account_signing_key_file, service_account_tokens.load_private_key
        )
        requests = TokenRequests(
            TokenSigner(key, config.service_account_issuer),
            lister,
            clock,
            config.audiences,
            new_uid,
            extend=config.service_account_extend_token_expiration,
        )
        handlers[scheme.SERVICEACCOUNTS, "token"] = _restricted(requests.create, lister)
    return handlers


def _restricted(create: Handler, lister: Lister) -> Handler:
    """Kubelets get tokens only for their own Pods, bound to these.

    Handlers are called without the admission chain, so what NodeRestriction says of tokens is
    asked here, whether or not the plugin is on.
    """
    restriction = NodeRestriction(lister)

    async def answer(user: UserInfo, target: Target, obj: Message) -> Message:
        attributes = Attributes(user, target, "CREATE", obj, None)
        if restriction.handles(attributes):
            await restriction.admit(attributes)
        return await create(user, target, obj)

    return answer
