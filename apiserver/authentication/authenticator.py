"""Who is asking: certificate first, then bearer token, else anonymous.

Source: k8s.io/apiserver pkg/authentication/request/{union,bearertoken,anonymous};
k8s.io/kubernetes pkg/kubeapiserver/authenticator/config.go.
"""

import logging
from collections.abc import Sequence

from apiserver.authentication import users
from apiserver.authentication.certificates import CertificateUsers
from apiserver.authentication.interface import Authenticated, TokenAuthenticator, TokenError
from apiserver.verbs.interface import UserInfo
from podpath.api import errors

logger = logging.getLogger(__name__)

INVALID_TOKEN = "invalid bearer token"


class Authenticator:
    """Both doors ask it once a request. Synchronous: nothing here waits for I/O.

    Args:
        certificates: reads client certificates.
        tokens: asked in order; the first that knows the token decides.
        audiences: whom tokens must be meant for (`--api-audiences`).
        anonymous: whether requests without credentials are let in as system:anonymous.
    """

    def __init__(
        self,
        certificates: CertificateUsers,
        tokens: Sequence[TokenAuthenticator],
        audiences: Sequence[str],
        *,
        anonymous: bool = True,
    ) -> None:
        self._certificates = certificates
        self._tokens = tuple(tokens)
        self._audiences = tuple(audiences)
        self._anonymous = anonymous

    @property
    def audiences(self) -> tuple[str, ...]:
        """The API server's own."""
        return self._audiences

    def authenticate(self, peer_cert_der: bytes | None, authorization: str | None) -> UserInfo:
        """The user of a request.

        `peer_cert_der` is the certificate that the TLS handshake verified, `authorization` the
        header's value. A bad certificate falls through to the token, a bad token never falls
        through to anonymous. Raises: ApiError Unauthorized.
        """
        failed = False
        if peer_cert_der:
            try:
                user = self._certificates.user_of(peer_cert_der)
            except TokenError as error:
                logger.debug("client certificate refused", extra={"error": str(error)})
                failed = True
            else:
                if user is not None:
                    return user
        token = bearer_token(authorization)
        if token:
            try:
                return self.authenticate_token(token, self._audiences).user
            except TokenError as error:
                logger.debug("bearer token refused", extra={"error": str(error)})
                raise errors.unauthorized() from None
        if failed or not self._anonymous:
            raise errors.unauthorized()
        return users.ANONYMOUS_USER

    def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated:
        """Whom the token stands for, and which of `audiences` it is meant for.

        Raises: TokenError when nobody knows it, it is not valid, or it is meant for others.
        """
        for authenticator in self._tokens:
            found = authenticator.authenticate_token(token)
            if found is None:
                continue
            if not found.audiences:  # a static token is good for the API server's audiences
                common = tuple(a for a in audiences if a in self._audiences)
            else:
                common = tuple(a for a in audiences if a in found.audiences)
            if audiences and not common:
                raise TokenError(
                    f"token audiences {list(found.audiences or self._audiences)!r} is invalid for "
                    f"the target audiences {list(audiences)!r}"
                )
            return Authenticated(found.user, common)
        raise TokenError(INVALID_TOKEN)


def bearer_token(authorization: str | None) -> str:
    """The token of an Authorization header; "" when it holds none."""
    if not authorization:
        return ""
    parts = authorization.strip().split(" ", 2)
    if len(parts) < 2 or parts[0].lower() != "bearer":
        return ""
    return parts[1]
