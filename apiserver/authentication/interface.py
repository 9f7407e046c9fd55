"""What the parts of authentication ask of one another.

Source: k8s.io/apiserver pkg/authentication/authenticator/interfaces.go.
"""

from dataclasses import dataclass
from typing import Protocol

from apiserver.verbs.interface import UserInfo


class TokenError(Exception):
    """The token claims to be ours and is not good. The message says why; it holds no secret."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Who a token stands for. `audiences` are those that the token names; empty: any."""

    user: UserInfo
    audiences: tuple[str, ...] = ()


class TokenAuthenticator(Protocol):
    def authenticate_token(self, token: str) -> Authenticated | None:
        """None when the token is none of this authenticator's. Raises: TokenError."""
