"""Bearer tokens from a file (`--token-auth-file`).

One token a line, CSV: `token,user,uid,"group1,group2"`; the groups may be left out.

Source: k8s.io/apiserver pkg/authentication/token/tokenfile/tokenfile.go.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from apiserver.authentication import users
from apiserver.authentication.interface import Authenticated
from apiserver.verbs.interface import UserInfo


class TokenFileError(Exception):
    """The file cannot be used. The message names it and the line."""


class StaticTokens:
    """Finds a token by its SHA-256: how long that takes tells nothing about the tokens."""

    def __init__(self, tokens: Mapping[str, UserInfo]) -> None:
        self._users = {_digest(token): Authenticated(user) for token, user in tokens.items()}

    def authenticate_token(self, token: str) -> Authenticated | None:
        return self._users.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def load(path: Path) -> StaticTokens:
    """Raises: TokenFileError, OSError."""
    with path.open(newline="", encoding="utf-8") as file:
        return StaticTokens(parse(file, str(path)))


def parse(lines: Iterable[str], source: str) -> dict[str, UserInfo]:
    """token -> user; a token that comes twice counts as its last line says, as upstream."""
    tokens: dict[str, UserInfo] = {}
    for number, row in enumerate(csv.reader(lines), start=1):
        if not row:
            continue
        if len(row) < 3:
            raise TokenFileError(
                f"{source}, line {number}: expected at least token, user name and uid, "
                f"found {len(row)} columns"
            )
        token, name, uid = (column.strip() for column in row[:3])
        if not token:
            raise TokenFileError(f"{source}, line {number}: the token is empty")
        groups = row[3].split(",") if len(row) > 3 else []
        named = tuple(group.strip() for group in groups if group.strip())
        tokens[token] = users.with_authenticated(UserInfo(name, uid, named))
    return tokens
