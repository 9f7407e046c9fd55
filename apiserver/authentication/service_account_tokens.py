"""ServiceAccount tokens: how they are signed and what makes one good.

A token is a JWT (ES256 or RS256) whose claim `kubernetes.io` names the ServiceAccount and, for a
bound token, the Pod, Secret or Node that it lives and dies with. The signature of a token is
verified once and remembered; what it is bound to is looked up at every use.

Source: k8s.io/kubernetes pkg/serviceaccount/{jwt,claims}.go.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.protobuf.message import Message

from apiserver.authentication import users
from apiserver.authentication.interface import Authenticated, TokenError
from apiserver.authentication.lru import LruCache
from apiserver.lister import Lister
from apiserver.verbs.interface import UserInfo
from podpath.api import scheme
from podpath.api.scheme import Resource
from podpath.component_base.clock import Clock
from protos.k8s.meta_v1_pb2 import ObjectMeta

VERIFIED_TOKENS_MAX = 8192
DELETED_GRACE = timedelta(minutes=1)  # how long a deleted object's tokens are still good
CLOCK_SKEW = timedelta(minutes=1)  # leeway at both ends of a token's life, as upstream's library

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class KeyFileError(Exception):
    """A key that cannot be used. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A reference to an object, as claims hold it."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. Times are UTC."""

    namespace: str
    service_account: Bound
    audiences: tuple[str, ...]
    not_before: datetime
    expires: datetime
    token_id: str = ""
    pod: Bound | None = None
    secret: Bound | None = None
    node: Bound | None = None


def algorithm(key: PublicKey | PrivateKey) -> str:
    """RS256, or ES256 ... ES512 by the curve. Raises: KeyFileError."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return "RS256"
    by_curve = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
    try:
        return by_curve[key.curve.name]
    except KeyError:
        raise KeyFileError(
            f"curve {key.curve.name} cannot sign tokens; expected P-256, P-384 or P-521"
        ) from None


def key_id(key: PublicKey) -> str:
    """The `kid` of a key: unpadded base64url of the SHA-256 of its DER form."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def load_private_key(pem: bytes) -> PrivateKey:
    """Raises: KeyFileError."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"not a private key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise KeyFileError("expected an RSA or EC private key")
    return key


def load_public_key(pem: bytes) -> PublicKey:
    """From a public key, or from a private one. Raises: KeyFileError."""
    if b"PRIVATE KEY" in pem:
        return load_private_key(pem).public_key()
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise KeyFileError(f"not a public key in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise KeyFileError("expected an RSA or EC public key")
    return key


class TokenSigner:
    """Signs claims for one issuer with one key."""

    def __init__(self, key: PrivateKey, issuer: str) -> None:
        self._key = key
        self._issuer = issuer
        self._algorithm = algorithm(key)
        self._headers = {"kid": key_id(key.public_key())}

    def sign(self, claims: Claims, issued: datetime, warn_after: datetime | None = None) -> str:
        """The JWT. `warn_after` is when a longer-lived token should have been renewed."""
        private: dict[str, Any] = {
            "namespace": claims.namespace,
            "serviceaccount": _reference(claims.service_account),
        }
        for kind in ("pod", "secret", "node"):
            bound: Bound | None = getattr(claims, kind)
            if bound is not None:
                private[kind] = _reference(bound)
        if warn_after is not None:
            private["warnafter"] = int(warn_after.timestamp())
        payload = {
            "aud": list(claims.audiences),
            "exp": int(claims.expires.timestamp()),
            "iat": int(issued.timestamp()),
            "iss": self._issuer,
            "jti": claims.token_id,
            "kubernetes.io": private,
            "nbf": int(claims.not_before.timestamp()),
            "sub": users.service_account_name(claims.namespace, claims.service_account.name),
        }
        return jwt.encode(payload, self._key, self._algorithm, headers=self._headers)


def _reference(bound: Bound) -> dict[str, str]:
    return {"name": bound.name, "uid": bound.uid} if bound.uid else {"name": bound.name}


class ServiceAccountTokens:
    """Authenticates ServiceAccount tokens of the issuers given, signed by one of the keys."""

    def __init__(
        self, keys: Sequence[PublicKey], issuers: Sequence[str], lister: Lister, clock: Clock
    ) -> None:
        self._keys = {key_id(key): key for key in keys}
        self._issuers = frozenset(issuers)
        self._lister = lister
        self._clock = clock
        self._verified: LruCache[bytes, tuple[Claims, Authenticated]] = LruCache(
            VERIFIED_TOKENS_MAX
        )

    def authenticate_token(self, token: str) -> Authenticated | None:
        """None when the token is no JWT of our issuers. Raises: TokenError."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._verified.get(digest)
        if known is None:
            if not self._is_ours(token):
                return None
            claims = self._verify(token)
            known = claims, Authenticated(_user(claims), claims.audiences)
            self._verified.put(digest, known)
        self._check_times(known[0])
        self._check_objects(known[0])
        return known[1]

    def _is_ours(self, token: str) -> bool:
        """By the issuer that it claims, before any signature is looked at."""
        try:
            payload = jwt.decode(token, options={"verify_signature": False})
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return False
        issuer = payload.get("iss")
        return isinstance(issuer, str) and issuer in self._issuers

    def _verify(self, token: str) -> Claims:
        options: Any = {
            f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
        }
        for key in self._candidates(token):
            try:
                payload = jwt.decode(token, key, algorithms=[algorithm(key)], options=options)
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                continue
            except (jwt.InvalidTokenError, ValueError) as error:
                raise TokenError(f"malformed token: {error}") from error
            return _claims(payload)
        raise TokenError("no key verifies the token's signature")

    def _candidates(self, token: str) -> Sequence[PublicKey]:
        named = jwt.get_unverified_header(token).get("kid")
        if named is None:
            return list(self._keys.values())
        return [self._keys[named]] if named in self._keys else []

    def _check_times(self, claims: Claims) -> None:
        now = self._clock.now()
        if now - CLOCK_SKEW > claims.expires:
            raise TokenError("service account token has expired")
        if now < claims.not_before - CLOCK_SKEW:
            raise TokenError("service account token is not valid yet")

    def _check_objects(self, claims: Claims) -> None:
        """The account, and what the token is bound to, must be there and be the same ones."""
        namespace = claims.namespace
        self._check(scheme.SERVICEACCOUNTS, namespace, claims.service_account)
        if claims.secret is not None:
            self._check(scheme.SECRETS, namespace, claims.secret)
        if claims.pod is not None:
            self._check(scheme.PODS, namespace, claims.pod)
        elif claims.node is not None:  # beside a Pod the node is a note, not a bond
            self._check(scheme.NODES, "", claims.node)

    def _check(self, resource: Resource[Any], namespace: str, bound: Bound) -> None:
        found: Message | None = self._lister.get(resource, namespace, bound.name)
        kind = resource.singular
        if found is None:
            raise TokenError(f"{kind} {namespace}/{bound.name} no longer exists")
        meta: ObjectMeta = found.metadata  # type: ignore[attr-defined]
        if meta.HasField("deletionTimestamp"):
            deleted = datetime.fromtimestamp(meta.deletionTimestamp.seconds, UTC)
            if deleted < self._clock.now() - DELETED_GRACE:
                raise TokenError(f"{kind} {namespace}/{bound.name} has been deleted")
        if meta.uid != bound.uid:
            raise TokenError(f"{kind} UID ({meta.uid}) does not match claim ({bound.uid})")


def _claims(payload: Mapping[str, Any]) -> Claims:
    """Raises: TokenError when a claim is missing or of the wrong type."""
    try:
        private = payload["kubernetes.io"]
        audiences = payload.get("aud", [])
        audiences = [audiences] if isinstance(audiences, str) else audiences
        claims = Claims(
            namespace=_text(private["namespace"]),
            service_account=_bound(private["serviceaccount"]),
            audiences=tuple(_text(a) for a in audiences),
            not_before=datetime.fromtimestamp(payload.get("nbf", 0), UTC),
            expires=datetime.fromtimestamp(payload["exp"], UTC),
            token_id=_text(payload.get("jti", "")),
            pod=_bound(private["pod"]) if "pod" in private else None,
            secret=_bound(private["secret"]) if "secret" in private else None,
            node=_bound(private["node"]) if "node" in private else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise TokenError(f"token claim is missing or malformed: {error!r}") from error
    if not claims.audiences:
        raise TokenError("token names no audience")
    expected = users.service_account_name(claims.namespace, claims.service_account.name)
    if payload.get("sub") != expected:
        raise TokenError("sub claim is invalid")
    return claims


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {type(value).__name__}")
    return value


def _bound(tree: Mapping[str, Any]) -> Bound:
    return Bound(_text(tree["name"]), _text(tree.get("uid", "")))


def _user(claims: Claims) -> UserInfo:
    extra: dict[str, tuple[str, ...]] = {}
    if claims.token_id:
        extra[users.CREDENTIAL_ID] = (f"JTI={claims.token_id}",)
    if claims.pod is not None:
        extra[users.POD_NAME] = (claims.pod.name,)
        extra[users.POD_UID] = (claims.pod.uid,)
    if claims.node is not None:
        extra[users.NODE_NAME] = (claims.node.name,)
        if claims.node.uid:
            extra[users.NODE_UID] = (claims.node.uid,)
    account = claims.service_account
    groups = (*users.service_account_groups(claims.namespace), users.AUTHENTICATED)
    return UserInfo(
        users.service_account_name(claims.namespace, account.name), account.uid, groups, extra
    )
