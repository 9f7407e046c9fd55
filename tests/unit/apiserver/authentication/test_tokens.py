"""ServiceAccount tokens: requested, used, bound, refused."""

import datetime as dt
import itertools

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from apiserver.authentication import users
from apiserver.authentication.authenticator import Authenticator
from apiserver.authentication.certificates import CertificateUsers
from apiserver.authentication.interface import TokenError
from apiserver.authentication.reviews import SelfSubjectReviews, TokenReviews
from apiserver.authentication.service_account_tokens import (
    Bound,
    Claims,
    ServiceAccountTokens,
    TokenSigner,
    key_id,
)
from apiserver.authentication.token_request import TokenRequests
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.component_base import pki
from podpath.component_base.clock import FakeClock
from protos.k8s.authentication_v1_pb2 import (
    BoundObjectReference,
    SelfSubjectReview,
    TokenRequest,
    TokenReview,
)
from protos.k8s.core_v1_pb2 import Node, Pod, Secret, ServiceAccount
from protos.k8s.meta_v1_pb2 import ObjectMeta
from tests.support.fake_lister import FakeLister

ISSUER = "https://kubernetes.default.svc"
KEY = pki.new_key()
RSA_KEY = rsa.generate_private_key(65537, 2048)
TARGET = Target(scheme.SERVICEACCOUNTS, "ns", "bot", "token")
ASKER = UserInfo("kubelet")


class World:
    def __init__(self, key=KEY, *, extend=True):
        self.clock = FakeClock()
        meta = ObjectMeta(name="bot", namespace="ns", uid="sa-uid")
        self.lister = FakeLister((scheme.SERVICEACCOUNTS, ServiceAccount(metadata=meta)))
        pod = Pod(metadata=ObjectMeta(name="p", namespace="ns", uid="pod-uid"))
        pod.spec.serviceAccountName, pod.spec.nodeName = "bot", "n1"
        self.lister.put(scheme.PODS, pod)
        other = Pod(metadata=ObjectMeta(name="other", namespace="ns", uid="x"))
        other.spec.serviceAccountName = "default"
        self.lister.put(scheme.PODS, other)
        node = Node(metadata=ObjectMeta(name="n1", uid="node-uid"))
        self.lister.put(scheme.NODES, node)
        secret = Secret(metadata=ObjectMeta(name="s", namespace="ns", uid="secret-uid"))
        self.lister.put(scheme.SECRETS, secret)
        self.signer = TokenSigner(key, ISSUER)
        ids = (f"id-{n}" for n in itertools.count())
        self.requests = TokenRequests(
            self.signer, self.lister, self.clock, [ISSUER], lambda: next(ids), extend=extend
        )
        self.tokens = ServiceAccountTokens(
            [KEY.public_key(), RSA_KEY.public_key()], [ISSUER], self.lister, self.clock
        )
        self.authenticator = Authenticator(CertificateUsers(self.clock), [self.tokens], [ISSUER])

    async def token(self, **spec):
        answer = await self.requests.create(ASKER, TARGET, request(**spec))
        return answer.status.token

    def user(self, token):
        return self.authenticator.authenticate(None, f"Bearer {token}")

    def refused(self, token):
        with pytest.raises(ApiError) as raised:
            self.user(token)
        assert raised.value.code == 401
        with pytest.raises(TokenError) as why:
            self.authenticator.authenticate_token(token, [ISSUER])
        return str(why.value)


def request(ref=None, seconds=None, audiences=(), name=""):
    made = TokenRequest()
    made.spec.audiences.extend(audiences)
    if name:
        made.metadata.name = name
    if seconds is not None:
        made.spec.expirationSeconds = seconds
    if ref is not None:
        made.spec.boundObjectRef.CopyFrom(ref)
    return made


def ref(kind, name, uid="", api_version="v1"):
    return BoundObjectReference(kind=kind, apiVersion=api_version, name=name, uID=uid)


POD, SECRET, NODE = ref("Pod", "p"), ref("Secret", "s"), ref("Node", "n1")


async def test_a_token_is_its_accounts():
    world = World()
    answer = await world.requests.create(ASKER, TARGET, request())
    assert list(answer.spec.audiences) == [ISSUER]
    assert answer.spec.expirationSeconds == 3600
    now = int(world.clock.now().timestamp())
    assert answer.status.expirationTimestamp.seconds == now + 3600
    assert (answer.metadata.name, answer.metadata.namespace) == ("bot", "ns")
    user = world.user(answer.status.token)
    assert user == UserInfo(
        "system:serviceaccount:ns:bot",
        "sa-uid",
        ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"),
        {users.CREDENTIAL_ID: ("JTI=id-0",)},
    )


async def test_claims_are_upstreams():
    world = World()
    token = await world.token(ref=POD, seconds=700)
    header = jwt.get_unverified_header(token)
    assert header["alg"] == "ES256"
    assert header["kid"] == key_id(KEY.public_key())
    now = int(world.clock.now().timestamp())
    assert jwt.decode(token, options={"verify_signature": False}) == {
        "aud": [ISSUER],
        "exp": now + 700,
        "iat": now,
        "iss": ISSUER,
        "jti": "id-0",
        "kubernetes.io": {
            "namespace": "ns",
            "node": {"name": "n1", "uid": "node-uid"},
            "pod": {"name": "p", "uid": "pod-uid"},
            "serviceaccount": {"name": "bot", "uid": "sa-uid"},
        },
        "nbf": now,
        "sub": "system:serviceaccount:ns:bot",
    }
    extra = world.user(token).extra
    assert extra[users.POD_NAME] == ("p",)
    assert extra[users.NODE_UID] == ("node-uid",)


async def test_rsa_keys_sign_too():
    world = World(RSA_KEY)
    token = await world.token()
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
    assert world.user(token).uid == "sa-uid"


@pytest.mark.parametrize(
    ("spec", "extend", "lives_s"),
    [
        pytest.param({"ref": POD, "seconds": 3607}, True, 365 * 86400, id="mounted by admission"),
        pytest.param({"ref": POD, "seconds": 3607}, False, 3607, id="switched off"),
        pytest.param({"ref": POD, "seconds": 3600}, True, 3600, id="another time"),
        pytest.param({"seconds": 3607}, True, 3607, id="not bound to a Pod"),
        pytest.param(
            {"ref": POD, "seconds": 3607, "audiences": ["vault"]}, True, 3607, id="for others"
        ),
    ],
)
async def test_extended_expiration(spec, extend, lives_s):
    world = World(extend=extend)
    claims = jwt.decode(await world.token(**spec), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == lives_s
    warns = claims["kubernetes.io"].get("warnafter")
    assert warns == (claims["iat"] + 3607 if lives_s > 3607 else None)


async def test_a_token_expires():
    world = World()
    token = await world.token(seconds=600)
    world.clock.step(660)  # upstream's library allows for a minute of skew
    assert world.user(token).name
    world.clock.step(1)
    assert world.refused(token) == "service account token has expired"


@pytest.mark.parametrize(
    ("bound", "resource", "namespace", "name"),
    [
        pytest.param(None, scheme.SERVICEACCOUNTS, "ns", "bot", id="account"),
        pytest.param(POD, scheme.PODS, "ns", "p", id="pod"),
        pytest.param(SECRET, scheme.SECRETS, "ns", "s", id="secret"),
        pytest.param(NODE, scheme.NODES, "", "n1", id="node"),
    ],
)
async def test_a_token_lives_with_what_it_is_bound_to(bound, resource, namespace, name):
    world = World()
    token = await world.token(ref=bound)
    assert world.user(token).name
    original = world.lister.get(resource, namespace, name)

    another = type(original)()
    another.CopyFrom(original)
    another.metadata.uid = "another"
    world.lister.put(resource, another)
    assert "does not match claim" in world.refused(token)

    deleted = type(original)()
    deleted.CopyFrom(original)
    deleted.metadata.deletionTimestamp.seconds = int(world.clock.now().timestamp())
    world.lister.put(resource, deleted)
    assert world.user(token).name, "a minute's grace"
    world.clock.step(61)
    assert "has been deleted" in world.refused(token)

    world.lister.put(resource, original)
    assert world.user(token).name
    world.lister.remove(resource, namespace, name)
    assert "no longer exists" in world.refused(token)


async def test_a_pods_token_survives_its_node():
    world = World()
    token = await world.token(ref=POD)
    world.lister.remove(scheme.NODES, "", "n1")
    assert world.user(token).name


async def test_tokens_for_others_are_refused():
    world = World()
    token = await world.token(audiences=["vault"])
    with pytest.raises(ApiError, match="Unauthorized"):
        world.user(token)
    found = world.authenticator.authenticate_token(token, ["vault", "x"])
    assert found.audiences == ("vault",)


def _forged(world, key=KEY, headers=None, **changes):
    now = int(world.clock.now().timestamp())
    payload = {
        "aud": [ISSUER],
        "exp": now + 600,
        "nbf": now,
        "iss": ISSUER,
        "sub": "system:serviceaccount:ns:bot",
        "kubernetes.io": {
            "namespace": "ns",
            "serviceaccount": {"name": "bot", "uid": "sa-uid"},
        },
    }
    payload.update(changes)
    payload = {k: v for k, v in payload.items() if v is not None}
    algorithm = "ES256" if key is not None and not isinstance(key, str) else "none"
    if isinstance(key, str):
        algorithm = "HS256"
    return jwt.encode(payload, key, algorithm, headers=headers)


def test_the_forger_could_sign_if_it_had_the_key():
    world = World()
    assert world.user(_forged(world)).uid == "sa-uid"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"key": pki.new_key()}, "no key verifies", id="another key"),
        pytest.param({"key": None}, "no key verifies", id="no signature"),
        pytest.param({"key": "s" * 32}, "no key verifies", id="a shared secret"),
        pytest.param({"headers": {"kid": "nobody"}}, "no key verifies", id="unknown kid"),
        pytest.param({"iss": "https://else"}, "invalid bearer token", id="another issuer"),
        pytest.param({"iss": None}, "invalid bearer token", id="no issuer"),
        pytest.param({"exp": None}, "missing or malformed", id="no expiry"),
        pytest.param({"exp": "soon"}, "missing or malformed", id="expiry is no number"),
        pytest.param({"exp": 10**30}, "missing or malformed", id="expiry out of range"),
        pytest.param({"aud": []}, "names no audience", id="no audience"),
        pytest.param({"aud": [1]}, "missing or malformed", id="audience is no string"),
        pytest.param({"sub": "jane"}, "sub claim is invalid", id="another subject"),
        pytest.param({"kubernetes.io": None}, "missing or malformed", id="not ours"),
        pytest.param({"kubernetes.io": []}, "missing or malformed", id="private claims a list"),
        pytest.param({"nbf": 2**33}, "not valid yet", id="not yet"),
    ],
)
def test_forged_tokens(changes, why):
    world = World()
    assert why in world.refused(_forged(world, **changes))


@pytest.mark.parametrize("token", ["a.b.c", "..", "x" * 5000, "eyJ.eyJ.", "\udcff.x.y"])
def test_what_is_no_token(token):
    assert World().refused(token) == "invalid bearer token"


async def test_a_changed_signature_is_noticed_after_the_true_one_was_cached():
    world = World()
    token = await world.token()
    assert world.user(token).name
    head, payload, signature = token.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    assert "no key verifies" in world.refused(f"{head}.{payload}.{flipped}")


def test_signing_takes_the_claims_time():
    world = World()
    now = world.clock.now()
    claims = Claims("ns", Bound("bot", "sa-uid"), (ISSUER,), now, now + dt.timedelta(minutes=10))
    assert world.user(world.signer.sign(claims, now)).uid == "sa-uid"


# Recorded from kube-apiserver 1.32.4, but for the last two, which follow upstream's source.
@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        (
            request(seconds=5),
            422,
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid '
            "value: 5: may not specify a duration less than 10 minutes",
        ),
        (
            request(seconds=5_000_000_000),
            422,
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid '
            "value: 5000000000: may not specify a duration larger than 2^32 seconds",
        ),
        (
            request(name="y"),
            422,
            'TokenRequest.authentication.k8s.io "bot" is invalid: metadata.name: Invalid value: '
            '"y": must match the service account name if specified',
        ),
        (
            request(ref=ref("Deployment", "x", api_version="apps/v1")),
            400,
            "cannot bind token to object of type apps/v1, Kind=Deployment",
        ),
        (request(ref=ref("", "")), 400, "cannot bind token to object of type /v1, Kind="),
        (request(ref=ref("Pod", "nope")), 404, 'pods "nope" not found'),
        (request(ref=ref("Secret", "nope")), 404, 'secrets "nope" not found'),
        (request(ref=ref("Node", "nope")), 404, 'nodes "nope" not found'),
        (
            request(ref=ref("Pod", "other")),
            400,
            'cannot bind token for serviceaccount "bot" to pod running with different '
            "serviceaccount name.",
        ),
        (
            request(ref=ref("Pod", "p", uid="old")),
            409,
            'Operation cannot be fulfilled on Pod "p": the UID in the bound object reference '
            "(old) does not match the UID in record. The object might have been deleted and then "
            "recreated",
        ),
    ],
)
async def test_refused_requests(sent, code, message):
    with pytest.raises(ApiError) as raised:
        await World().requests.create(ASKER, TARGET, sent)
    assert (raised.value.code, str(raised.value)) == (code, message)


async def test_unknown_account():
    target = Target(scheme.SERVICEACCOUNTS, "ns", "nope", "token")
    with pytest.raises(ApiError, match='serviceaccounts "nope" not found'):
        await World().requests.create(ASKER, target, request())


async def test_an_account_that_the_cache_does_not_have_yet():
    world = World()
    meta = ObjectMeta(name="new", namespace="ns", uid="u")
    world.lister.put_stale(scheme.SERVICEACCOUNTS, ServiceAccount(metadata=meta))
    target = Target(scheme.SERVICEACCOUNTS, "ns", "new", "token")
    answer = await world.requests.create(ASKER, target, request())
    assert answer.status.token


# ------------------------------------------------------------ reviews


async def test_token_review():
    world = World()
    review = TokenReview()
    review.spec.token = await world.token()
    handler = TokenReviews(world.authenticator)
    answer = await handler.create(ASKER, Target(scheme.TOKENREVIEWS), review)
    assert answer.status.authenticated
    assert answer.status.user.username == "system:serviceaccount:ns:bot"
    assert list(answer.status.audiences) == [ISSUER]
    review.spec.audiences.append("foo")
    answer = await handler.create(ASKER, Target(scheme.TOKENREVIEWS), review)
    assert not answer.status.authenticated
    assert answer.status.HasField("user")
    assert "invalid for the target audiences" in answer.status.error


async def test_token_review_of_a_wrong_token():
    review = TokenReview()
    review.spec.token = "abc"
    handler = TokenReviews(World().authenticator)
    answer = await handler.create(ASKER, Target(scheme.TOKENREVIEWS), review)
    assert answer.status.error == "invalid bearer token"
    with pytest.raises(ApiError, match="token is required for TokenReview in authentication"):
        await handler.create(ASKER, Target(scheme.TOKENREVIEWS), TokenReview())


async def test_self_subject_review():
    user = UserInfo("jane", "7", ("devs",), {"scope": ("a", "b")})
    target = Target(scheme.SELFSUBJECTREVIEWS)
    answer = await SelfSubjectReviews(FakeClock()).create(user, target, SelfSubjectReview())
    info = answer.status.userInfo
    assert (info.username, info.uid, list(info.groups)) == ("jane", "7", ["devs"])
    assert list(info.extra["scope"].items) == ["a", "b"]
    assert answer.metadata.HasField("creationTimestamp")
