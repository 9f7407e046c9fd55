"""Bootstrap tokens: what a machine shows that wants to become a node.

A token `ID.SECRET` (6 and 16 characters) is the Secret `bootstrap-token-ID` of kube-system; whoever
shows it is user `system:bootstrap:ID` in group system:bootstrappers and the groups it names.

Source: k8s.io/kubernetes plugin/pkg/auth/authenticator/token/bootstrap/bootstrap.go,
k8s.io/cluster-bootstrap/token/{api,util}.
"""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime

from apiserver.authentication import users
from apiserver.authentication.interface import Authenticated, TokenError
from apiserver.lister import Lister
from apiserver.verbs.interface import UserInfo
from podpath.api import scheme
from podpath.component_base.clock import Clock

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAME_PREFIX = "bootstrap-token-"
USER_PREFIX = "system:bootstrap:"
GROUP = "system:bootstrappers"

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    """Looks the Secret up at every request, so that a deleted token is worth nothing at once."""

    def __init__(self, lister: Lister, clock: Clock) -> None:
        self._lister = lister
        self._clock = clock

    def authenticate_token(self, token: str) -> Authenticated | None:
        """None for what does not look like a bootstrap token. Raises: TokenError."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        token_id, secret = found.groups()
        stored = self._lister.get(scheme.SECRETS, NAMESPACE, NAME_PREFIX + token_id)
        if stored is None or stored.metadata.HasField("deletionTimestamp"):
            raise TokenError(f"bootstrap token {token_id} is not known")
        if stored.type != SECRET_TYPE:
            raise TokenError(f"secret {stored.metadata.name} is not of type {SECRET_TYPE}")
        if not hmac.compare_digest(stored.data.get("token-secret", b""), secret.encode()):
            raise TokenError(f"bootstrap token {token_id}: the secret does not match")
        return Authenticated(user_of(token_id, stored.data, self._clock.now()))


def user_of(token_id: str, data: Mapping[str, bytes], now: datetime) -> UserInfo:
    """Whom the Secret's data stand for. Raises: TokenError when it is no good (any more)."""
    if data.get("token-id") != token_id.encode():
        raise TokenError(f"bootstrap token {token_id}: its secret has another token-id")
    if _is_expired(data.get("expiration", b""), now):
        raise TokenError(f"bootstrap token {token_id} has expired")
    if data.get("usage-bootstrap-authentication") != b"true":
        raise TokenError(f"bootstrap token {token_id} is not for authentication")
    extra = data.get("auth-extra-groups", b"").decode("utf-8", "replace")
    groups = [GROUP, *(group.strip() for group in extra.split(",") if group.strip())]
    for group in groups[1:]:
        if not _EXTRA_GROUP.fullmatch(group):
            raise TokenError(f"bootstrap token {token_id}: group {group!r} is not a bootstrapper's")
    user = UserInfo(USER_PREFIX + token_id, groups=tuple(dict.fromkeys(groups)))
    return users.with_authenticated(user)


def _is_expired(text: bytes, now: datetime) -> bool:
    """True also for a time that cannot be read."""
    if not text:
        return False
    try:
        return now >= datetime.fromisoformat(text.decode().strip())
    except (ValueError, TypeError):
        return True
