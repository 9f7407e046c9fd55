"""POST serviceaccounts/NAME/token: a token for a ServiceAccount, bound to an object if wanted.

Source: k8s.io/kubernetes pkg/registry/core/serviceaccount/storage/token.go,
pkg/apis/authentication/validation/validation.go, pkg/serviceaccount/claims.go.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from apiserver.authentication.service_account_tokens import Bound, Claims, TokenSigner
from apiserver.lister import Lister
from apiserver.verbs.interface import Target, UserInfo
from podpath.api import errors, scheme
from podpath.api.errors import FieldError
from podpath.api.scheme import ObjectT, Resource
from podpath.component_base.clock import Clock
from protos.k8s.authentication_v1_pb2 import BoundObjectReference, TokenRequest
from protos.k8s.core_v1_pb2 import ServiceAccount

GROUP = "authentication.k8s.io"
EXPIRATION_DEFAULT_S = 3600
EXPIRATION_MIN_S = 600
EXPIRATION_MAX_S = 1 << 32
# What the ServiceAccount admission plugin asks for. Upstream gives such tokens a year and warns
# about their use after this time: old client libraries read the file only once.
EXTENDED_REQUEST_S = 3607
EXTENDED_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class _Binding:
    """What the token will be bound to."""

    pod: Bound | None = None
    secret: Bound | None = None
    node: Bound | None = None


class TokenRequests:
    """Answers token requests. Args: audiences: the API server's, used when none are asked for;
    extend: whether the tokens that admission mounts live a year (upstream's default)."""

    def __init__(
        self,
        signer: TokenSigner,
        lister: Lister,
        clock: Clock,
        audiences: Sequence[str],
        new_uid: Callable[[], str],
        *,
        extend: bool = True,
    ) -> None:
        self._signer = signer
        self._lister = lister
        self._clock = clock
        self._audiences = tuple(audiences)
        self._new_uid = new_uid
        self._extend = extend

    async def create(self, user: UserInfo, target: Target, obj: Message) -> Message:
        """The request with its status filled in. Raises: ApiError as upstream does."""
        del user  # authorization has let it pass; the token is the account's, not the asker's
        if not isinstance(obj, TokenRequest):
            raise errors.bad_request(f"expected a TokenRequest, found {type(obj).__name__}")
        request = TokenRequest()
        request.CopyFrom(obj)
        account = await self._find(scheme.SERVICEACCOUNTS, target.namespace, target.name)
        _complete(request, target, self._audiences)
        binding = await self._bind(request, target, account)
        self._sign(request, account, binding)
        return request

    async def _find(self, resource: Resource[ObjectT], namespace: str, name: str) -> ObjectT:
        """From the cache, or from storage when the cache does not have it yet."""
        found = self._lister.get(resource, namespace, name)
        if found is None:
            found = await self._lister.get_live(resource, namespace, name)
        if found is None:
            raise errors.not_found(resource.group, resource.name, name)
        return found

    async def _bind(
        self, request: TokenRequest, target: Target, account: ServiceAccount
    ) -> _Binding:
        if not request.spec.HasField("boundObjectRef"):
            return _Binding()
        ref = request.spec.boundObjectRef
        group, _, version = ref.apiVersion.rpartition("/")
        if group or ref.kind not in {"Pod", "Secret", "Node"}:
            raise errors.bad_request(
                f"cannot bind token to object of type {group}/{version}, Kind={ref.kind}"
            )
        if ref.kind == "Pod":
            return await self._bind_to_pod(ref, target.namespace, account.metadata.name)
        if ref.kind == "Secret":
            secret = await self._find(scheme.SECRETS, target.namespace, ref.name)
            return _Binding(secret=_bound(ref, secret))
        node = await self._find(scheme.NODES, "", ref.name)
        return _Binding(node=_bound(ref, node))

    async def _bind_to_pod(
        self, ref: BoundObjectReference, namespace: str, account: str
    ) -> _Binding:
        pod = await self._find(scheme.PODS, namespace, ref.name)
        if pod.spec.serviceAccountName != account:
            raise errors.bad_request(
                f'cannot bind token for serviceaccount "{account}" to pod running with different '
                "serviceaccount name."
            )
        bound = _bound(ref, pod)
        if not pod.spec.nodeName:
            return _Binding(pod=bound)
        node = self._lister.get(scheme.NODES, "", pod.spec.nodeName)
        uid = node.metadata.uid if node is not None else ""
        return _Binding(pod=bound, node=Bound(pod.spec.nodeName, uid))

    def _sign(self, request: TokenRequest, account: ServiceAccount, binding: _Binding) -> None:
        now = self._clock.now().replace(microsecond=0)
        asked_s = request.spec.expirationSeconds
        expires, warn_after = now + timedelta(seconds=asked_s), None
        audiences = tuple(request.spec.audiences)
        if (
            self._extend
            and asked_s == EXTENDED_REQUEST_S
            and binding.pod is not None
            and set(audiences) <= set(self._audiences)
        ):
            warn_after = expires
            expires = now + timedelta(seconds=EXTENDED_S)
        claims = Claims(
            namespace=account.metadata.namespace,
            service_account=Bound(account.metadata.name, account.metadata.uid),
            audiences=audiences,
            not_before=now,
            expires=expires,
            token_id=self._new_uid(),
            pod=binding.pod,
            secret=binding.secret,
            node=binding.node,
        )
        request.metadata.creationTimestamp.seconds = int(now.timestamp())
        request.status.Clear()
        request.status.token = self._signer.sign(claims, now, warn_after)
        request.status.expirationTimestamp.seconds = int(now.timestamp()) + asked_s


def _complete(request: TokenRequest, target: Target, audiences: Sequence[str]) -> None:
    """Fills in what was left out. Raises: ApiError Invalid."""
    meta = request.metadata
    for field, sent, real in (
        ("name", meta.name, target.name),
        ("namespace", meta.namespace, target.namespace),
    ):
        if sent and sent != real:
            wrong = f"must match the service account {field} if specified"
            raise _invalid(target.name, errors.invalid(f"metadata.{field}", sent, wrong))
    meta.name, meta.namespace = target.name, target.namespace
    spec = request.spec
    if not spec.HasField("expirationSeconds"):
        spec.expirationSeconds = EXPIRATION_DEFAULT_S
    if not spec.audiences:
        spec.audiences.extend(audiences)
    path, seconds = "spec.expirationSeconds", spec.expirationSeconds
    if seconds < EXPIRATION_MIN_S:
        wrong = "may not specify a duration less than 10 minutes"
        raise _invalid("", errors.invalid(path, seconds, wrong))
    if seconds > EXPIRATION_MAX_S:
        wrong = "may not specify a duration larger than 2^32 seconds"
        raise _invalid("", errors.invalid(path, seconds, wrong))


def _invalid(name: str, error: FieldError) -> errors.ApiError:
    return errors.invalid_object(GROUP, "TokenRequest", name, [error])


def _bound(ref: BoundObjectReference, found: Any) -> Bound:
    """Raises: ApiError Conflict when the reference means another object of that name."""
    uid = found.metadata.uid
    if ref.uID and ref.uID != uid:
        raise errors.conflict(
            "",
            ref.kind,
            ref.name,
            f"the UID in the bound object reference ({ref.uID}) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        )
    return Bound(ref.name, uid)
