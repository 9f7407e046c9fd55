"""Acting as somebody else: the Impersonate-* headers, for those who may.

Source: k8s.io/apiserver pkg/endpoints/filters/impersonation.go.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from apiserver.authentication import users
from apiserver.authorization.interface import Attributes, Authorizer
from apiserver.authorization.messages import forbidden
from apiserver.verbs.interface import UserInfo
from podpath.api import errors

_USER, _GROUP, _UID = "impersonate-user", "impersonate-group", "impersonate-uid"
_EXTRA = "impersonate-extra-"
_PREFIX = "impersonate-"
_VERB = "impersonate"
AUTHENTICATION_GROUP = "authentication.k8s.io"


@dataclass(slots=True)
class _Wanted:
    user: str = ""
    uid: str = ""
    groups: list[str] = field(default_factory=list)
    extra: dict[str, list[str]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.user or self.uid or self.groups or self.extra)


def impersonated(
    user: UserInfo, headers: Iterable[tuple[str, str]], authorizer: Authorizer
) -> UserInfo:
    """The user that the request is to be treated as; `user` itself without such headers.

    `headers` are names and values in the order sent; names in any case, gRPC metadata as well.
    Raises: ApiError Forbidden unless `user` may impersonate everything that is asked for,
    InternalError (as upstream) when groups or extras come without a user.
    """
    wanted = _read(headers)
    if wanted.empty:
        return user
    if not wanted.user:
        raise errors.internal_error("impersonation was requested without impersonating a user")
    for attributes in _questions(user, wanted):
        decision = authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)
    extra = {key: tuple(values) for key, values in wanted.extra.items()}
    return UserInfo(wanted.user, wanted.uid, _groups(wanted), extra)


def _read(headers: Iterable[tuple[str, str]]) -> _Wanted:
    wanted = _Wanted()
    for name, value in headers:
        lower = name.lower()
        if not lower.startswith(_PREFIX):
            continue
        if lower == _USER:
            wanted.user = wanted.user or value
        elif lower == _UID:
            wanted.uid = wanted.uid or value
        elif lower == _GROUP:
            wanted.groups.append(value)
        elif lower.startswith(_EXTRA):
            wanted.extra.setdefault(unquote(lower.removeprefix(_EXTRA)), []).append(value)
    return wanted


def _questions(user: UserInfo, wanted: _Wanted) -> Iterator[Attributes]:
    """One for each thing asked for."""
    account = users.split_service_account(wanted.user)
    if account is not None:
        namespace, name = account
        yield Attributes(user, _VERB, "", "serviceaccounts", "", namespace, name)
    else:
        yield Attributes(user, _VERB, "", "users", name=wanted.user)
    for group in wanted.groups:
        yield Attributes(user, _VERB, "", "groups", name=group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Attributes(user, _VERB, AUTHENTICATION_GROUP, "userextras", key, name=value)
    if wanted.uid:
        yield Attributes(user, _VERB, AUTHENTICATION_GROUP, "uids", name=wanted.uid)


def _groups(wanted: _Wanted) -> tuple[str, ...]:
    groups = list(wanted.groups)
    account = users.split_service_account(wanted.user)
    if account is not None and not groups:
        groups = list(users.service_account_groups(account[0]))
    known = users.UNAUTHENTICATED if wanted.user == users.ANONYMOUS else users.AUTHENTICATED
    if users.AUTHENTICATED not in groups and users.UNAUTHENTICATED not in groups:
        groups.append(known)
    return tuple(groups)
