"""Acting as somebody else, for those who may."""

import pytest

from apiserver.authentication import users
from apiserver.authentication.impersonation import impersonated
from apiserver.authorization.interface import Decision
from apiserver.verbs.interface import UserInfo
from podpath.api.errors import ApiError

ASKER = UserInfo("jane", groups=("devs",))


class FakeAuthorizer:
    """Allows all but `denied` (resource/name); keeps what it was asked."""

    def __init__(self, *denied):
        self.denied = set(denied)
        self.asked: list[str] = []

    def authorize(self, attributes):
        assert attributes.user is ASKER
        assert attributes.verb == "impersonate"
        what = f"{attributes.resource_path}/{attributes.namespace}/{attributes.name}"
        self.asked.append(what)
        return Decision(what not in self.denied)


USER, GROUP, UID = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid"


@pytest.mark.parametrize(
    ("headers", "user", "asked"),
    [
        pytest.param(
            [(USER, "bob")],
            UserInfo("bob", "", ("system:authenticated",)),
            ["users//bob"],
            id="user",
        ),
        pytest.param(
            [
                (USER.lower(), "bob"),
                (GROUP, "a"),
                (GROUP, "b"),
                (UID, "7"),
                ("impersonate-extra-A%2fB", "x"),
            ],
            UserInfo("bob", "7", ("a", "b", "system:authenticated"), {"a/b": ("x",)}),
            ["users//bob", "groups//a", "groups//b", "userextras/a/b//x", "uids//7"],
            id="everything",
        ),
        pytest.param(
            [(USER, "system:serviceaccount:ns:bot")],
            UserInfo(
                "system:serviceaccount:ns:bot",
                "",
                ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"),
            ),
            ["serviceaccounts/ns/bot"],
            id="service account",
        ),
        pytest.param(
            [(USER, users.ANONYMOUS)],
            users.ANONYMOUS_USER,
            ["users//system:anonymous"],
            id="anonymous",
        ),
        pytest.param([("Accept", "x")], ASKER, [], id="no such headers"),
    ],
)
def test_impersonation(headers, user, asked):
    authorizer = FakeAuthorizer()
    assert impersonated(ASKER, headers, authorizer) == user
    assert authorizer.asked == asked


@pytest.mark.parametrize(
    ("denied", "message"),
    [
        (
            "users//bob",
            'users "bob" is forbidden: User "jane" cannot impersonate resource "users" in API '
            'group "" at the cluster scope',
        ),
        (
            "groups//g",
            'groups "g" is forbidden: User "jane" cannot impersonate resource "groups" in API '
            'group "" at the cluster scope',
        ),
        (
            "uids//7",
            'uids.authentication.k8s.io "7" is forbidden: User "jane" cannot impersonate resource '
            '"uids" in API group "authentication.k8s.io" at the cluster scope',
        ),
    ],
)
def test_every_part_must_be_allowed(denied, message):
    with pytest.raises(ApiError) as raised:
        impersonated(ASKER, [(USER, "bob"), (GROUP, "g"), (UID, "7")], FakeAuthorizer(denied))
    assert str(raised.value) == message


@pytest.mark.parametrize("header", [GROUP, UID, "Impersonate-Extra-x"])
def test_parts_without_a_user(header):
    with pytest.raises(ApiError, match="without impersonating a user"):
        impersonated(ASKER, [(header, "x")], FakeAuthorizer())
