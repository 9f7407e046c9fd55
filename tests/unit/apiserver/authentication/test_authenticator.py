"""Who is asking: certificates, static tokens, anonymous, and what is refused."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from apiserver.authentication import static_tokens, users
from apiserver.authentication.authenticator import Authenticator, bearer_token
from apiserver.authentication.certificates import CertificateUsers
from apiserver.authentication.interface import TokenError
from apiserver.authentication.lru import LruCache
from apiserver.verbs.interface import UserInfo
from podpath.api.errors import ApiError
from podpath.component_base import pki
from podpath.component_base.clock import FakeClock

CLOCK = FakeClock()
CA = pki.create_ca("ca", CLOCK.now())
LINES = ['t1,jane,7,"devs, ops"', "t2,joe,8", "", "t3,a,1", "t3,b,2"]


def der(profile):
    return pki.issue(CA, profile, CLOCK.now()).certificate.public_bytes(Encoding.DER)


JANE = der(pki.client("jane", ["devs", "ops"]))


def authenticator(clock=CLOCK, *, anonymous=True):
    tokens = static_tokens.StaticTokens(static_tokens.parse(LINES, "f"))
    return Authenticator(CertificateUsers(clock), [tokens], ["api"], anonymous=anonymous)


def test_certificates_name_user_and_groups():
    user = authenticator().authenticate(JANE, None)
    assert (user.name, user.groups) == ("jane", ("devs", "ops", "system:authenticated"))
    (credential,) = user.extra[users.CREDENTIAL_ID]
    assert credential.startswith("X509SHA256=")
    assert len(credential) == len("X509SHA256=") + 64


def test_a_certificate_is_read_once():
    reader = CertificateUsers(CLOCK)
    assert reader.user_of(JANE) is reader.user_of(bytes(JANE))


@pytest.mark.parametrize(
    ("header", "name", "groups"),
    [
        ("Bearer t1", "jane", ("devs", "ops", "system:authenticated")),
        ("bearer t2", "joe", ("system:authenticated",)),
        ("BEARER t3 rest", "b", ("system:authenticated",)),
    ],
)
def test_static_tokens(header, name, groups):
    user = authenticator().authenticate(None, header)
    assert (user.name, user.groups) == (name, groups)


@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer ", "Bearer  x", "x"])
def test_without_credentials(header):
    assert authenticator().authenticate(None, header) == users.ANONYMOUS_USER
    with pytest.raises(ApiError) as raised:
        authenticator(anonymous=False).authenticate(None, header)
    assert (raised.value.code, str(raised.value)) == (401, "Unauthorized")


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", "Bearer t1x", "Bearer a.b.c", "Bearer \udcff", "Bearer " + "x" * 100_000],
)
def test_a_bad_token_is_never_anonymous(header):
    with pytest.raises(ApiError) as raised:
        authenticator().authenticate(None, header)
    assert raised.value.reason == "Unauthorized"


def test_a_certificate_counts_before_a_bad_token():
    assert authenticator().authenticate(JANE, "Bearer wrong").name == "jane"


@pytest.mark.parametrize("days", [366, -1])
def test_certificates_expire_on_open_connections(days):
    clock = FakeClock()
    made = authenticator(clock)
    assert made.authenticate(JANE, None).name == "jane"
    clock.step(days * 86400)
    with pytest.raises(ApiError, match="Unauthorized"):
        made.authenticate(JANE, None)
    assert made.authenticate(JANE, "Bearer t1").name == "jane", "the token still counts"


def test_a_malformed_certificate_is_refused():
    with pytest.raises(ApiError, match="Unauthorized"):
        authenticator().authenticate(b"not DER", None)


@pytest.mark.parametrize(
    ("audiences", "granted"),
    [(["api"], ("api",)), (["other", "api"], ("api",)), ([], ())],
)
def test_audiences_of_static_tokens(audiences, granted):
    assert authenticator().authenticate_token("t1", audiences).audiences == granted


def test_static_tokens_are_not_for_others():
    with pytest.raises(TokenError, match="invalid for the target audiences"):
        authenticator().authenticate_token("t1", ["other"])


@pytest.mark.parametrize(
    ("line", "message"),
    [("token,user", "line 1: expected at least"), (",user,uid", "line 1: the token is empty")],
)
def test_bad_token_files(line, message):
    with pytest.raises(static_tokens.TokenFileError, match=message):
        static_tokens.parse([line], "f")


def test_bearer_token_takes_one_word():
    assert bearer_token("  Bearer abc def ") == "abc"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("system:serviceaccount:ns:bot", ("ns", "bot")),
        ("system:serviceaccount:ns", None),
        ("system:serviceaccount::bot", None),
        ("system:serviceaccount:a:b:c", None),
        ("jane", None),
    ],
)
def test_service_account_names(name, expected):
    assert users.split_service_account(name) == expected


def test_authenticated_is_added_once():
    user = users.with_authenticated(UserInfo("x"))
    assert users.with_authenticated(user) is user
    assert users.with_authenticated(users.ANONYMOUS_USER) is users.ANONYMOUS_USER


def test_lru_forgets_the_oldest():
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)
