"""Bootstrap tokens: which are let in, and as whom."""

import pytest

from apiserver.authentication.bootstrap_tokens import BootstrapTokens
from apiserver.authentication.interface import TokenError
from podpath.api import scheme
from podpath.component_base.clock import FakeClock
from protos.k8s.core_v1_pb2 import Secret
from tests.support.fake_lister import FakeLister

TOKEN = "abcdef.0123456789abcdef"
GOOD = {
    "token-id": b"abcdef",
    "token-secret": b"0123456789abcdef",
    "expiration": b"2024-01-02T04:04:05Z",
    "usage-bootstrap-authentication": b"true",
    "auth-extra-groups": b"system:bootstrappers:a:b, system:bootstrappers:c",
}


def authenticator(type_="bootstrap.kubernetes.io/token", clock=None, **changes):
    secret = Secret(type=type_)
    secret.metadata.namespace, secret.metadata.name = "kube-system", "bootstrap-token-abcdef"
    for key, value in (GOOD | {k.replace("_", "-"): v for k, v in changes.items()}).items():
        if value is not None:
            secret.data[key] = value
    return BootstrapTokens(FakeLister((scheme.SECRETS, secret)), clock or FakeClock())


def test_a_good_token_is_a_bootstrapper():
    found = authenticator().authenticate_token(TOKEN)
    assert found.user.name == "system:bootstrap:abcdef"
    assert found.user.groups == (
        "system:bootstrappers",
        "system:bootstrappers:a:b",
        "system:bootstrappers:c",
        "system:authenticated",
    )


@pytest.mark.parametrize("token", ["", "abc", "abcdef.short", "ABCDEF.0123456789abcdef", "a.b.c"])
def test_what_does_not_look_like_one_is_left_to_others(token):
    assert authenticator().authenticate_token(token) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_secret": b"another0another0"}, "does not match"),
        ({"token_id": b"fedcba"}, "another token-id"),
        ({"expiration": b"2024-01-02T03:04:05Z"}, "has expired"),
        ({"expiration": b"soon"}, "has expired"),
        ({"usage_bootstrap_authentication": None}, "not for authentication"),
        ({"usage_bootstrap_authentication": b"TRUE"}, "not for authentication"),
        ({"auth_extra_groups": b"system:masters"}, "is not a bootstrapper's"),
        ({"type_": "Opaque"}, "is not of type"),
    ],
)
def test_refusals_say_why_and_hold_no_secret(changes, message):
    with pytest.raises(TokenError, match=message) as raised:
        authenticator(**changes).authenticate_token(TOKEN)
    assert "0123456789abcdef" not in str(raised.value)


def test_a_token_expires_while_the_server_runs():
    clock = FakeClock()
    tokens = authenticator(clock=clock)
    assert tokens.authenticate_token(TOKEN) is not None
    clock.step(3600)
    with pytest.raises(TokenError, match="expired"):
        tokens.authenticate_token(TOKEN)
