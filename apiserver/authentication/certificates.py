"""Users from client certificates: common name is the user, organizations are the groups.

The TLS handshake has verified the chain and the purpose; what is checked here is that the
certificate is still valid, because connections outlive certificates.

Source: k8s.io/apiserver pkg/authentication/request/x509/x509.go.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from apiserver.authentication import users
from apiserver.authentication.interface import TokenError
from apiserver.authentication.lru import LruCache
from apiserver.verbs.interface import UserInfo
from podpath.component_base.clock import Clock

CACHED_CERTIFICATES_MAX = 4096


@dataclass(frozen=True, slots=True)
class _Parsed:
    user: UserInfo | None  # None: a certificate without a name
    not_before: datetime
    not_after: datetime


class CertificateUsers:
    """Reads each certificate once; the next requests with the same one cost a lookup."""

    def __init__(self, clock: Clock, capacity: int = CACHED_CERTIFICATES_MAX) -> None:
        self._clock = clock
        self._parsed: LruCache[bytes, _Parsed] = LruCache(capacity)

    def user_of(self, der: bytes) -> UserInfo | None:
        """The user, None when the certificate names none. Raises: TokenError."""
        parsed = self._parsed.get(der)
        if parsed is None:
            parsed = _parse(der)
            self._parsed.put(der, parsed)
        if not parsed.not_before <= self._clock.now() <= parsed.not_after:
            raise TokenError("x509: certificate has expired or is not yet valid")
        return parsed.user


def _parse(der: bytes) -> _Parsed:
    try:
        certificate = x509.load_der_x509_certificate(der)
        subject = certificate.subject
    except ValueError as error:
        raise TokenError(f"x509: malformed certificate: {error}") from error
    names = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    user = None
    if names and names[-1]:
        credential = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
        user = users.with_authenticated(
            UserInfo(names[-1], groups=tuple(groups), extra={users.CREDENTIAL_ID: (credential,)})
        )
    return _Parsed(user, certificate.not_valid_before_utc, certificate.not_valid_after_utc)
