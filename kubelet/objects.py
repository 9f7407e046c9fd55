"""ConfigMaps, Secrets, RuntimeClasses and tokens that Pods use, kept for a while.

Upstream's "Cache" strategy: an object is read again when it is older than the lifetime, or when
the Pod that wants it is newer than the copy. Shared by all simulated nodes of a process.

Source: pkg/kubelet/util/manager/cache_based_manager.go, pkg/kubelet/token/token_manager.go.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic

from kubelet.volume_payload import TokenNeed, VolumeNeeds, VolumeObjects
from podpath.api.errors import ApiError
from podpath.api.scheme import (
    CONFIGMAPS,
    RUNTIMECLASSES,
    SECRETS,
    SERVICEACCOUNTS,
    ObjectT,
    Resource,
)
from podpath.client.interface import Client
from podpath.component_base.clock import Clock
from protos.k8s import authentication_v1_pb2 as authentication
from protos.k8s import core_v1_pb2 as core

OBJECT_LIFETIME_S = 60.0
_ENTRIES_MAX = 10_000
# A token is renewed at 80 % of its life, or after a day.
_REFRESH_FRACTION = 0.8
_REFRESH_MAX_S = 24 * 3600.0
_JITTER_MAX_S = 10.0


@dataclass(slots=True)
class _Entry(Generic[ObjectT]):
    obj: ObjectT | None
    at: float


class ObjectCache(Generic[ObjectT]):
    """Objects of one resource by namespace and name. One read serves all who wait for it."""

    def __init__(self, client: Client, resource: Resource[ObjectT], clock: Clock) -> None:
        self._client = client
        self._resource = resource
        self._clock = clock
        self._entries: dict[tuple[str, str], _Entry[ObjectT]] = {}
        self._reading: dict[tuple[str, str], asyncio.Future[ObjectT | None]] = {}

    async def get(self, namespace: str, name: str, *, fresh: bool = False) -> ObjectT | None:
        """The object, None if there is none. `fresh` reads it now. Raises: ApiError."""
        key = (namespace, name)
        entry = self._entries.get(key)
        if entry is not None and not fresh:
            # An object that was missing is asked for each time: its Pod waits for it.
            young = self._clock.monotonic() - entry.at < OBJECT_LIFETIME_S
            if entry.obj is not None and young:
                return entry.obj
        waiting = self._reading.get(key)
        if waiting is None:
            waiting = asyncio.ensure_future(self._read(key))
            self._reading[key] = waiting
            waiting.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(waiting)

    async def _read(self, key: tuple[str, str]) -> ObjectT | None:
        try:
            obj: ObjectT | None = await self._client.get(self._resource, *key)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            obj = None
        if len(self._entries) >= _ENTRIES_MAX:
            self._entries.clear()
        self._entries[key] = _Entry(obj, self._clock.monotonic())
        return obj


@dataclass(slots=True)
class _Token:
    text: str
    renew_at: float


class TokenManager:
    """Service account tokens through TokenRequest, renewed before they end.

    A token is bound to its Pod, as upstream's are. `shared` gives all Pods of a service account
    the same unbound token: for simulated nodes, whose Pods never use it.
    """

    def __init__(
        self, client: Client, clock: Clock, rng: random.Random, *, shared: bool = False
    ) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._shared = shared
        self._tokens: dict[tuple[str, str, str, TokenNeed], _Token] = {}
        self._asking: dict[tuple[str, str, str, TokenNeed], asyncio.Future[str]] = {}

    async def get(self, pod: core.Pod, need: TokenNeed) -> str:
        """Raises: ApiError."""
        meta = pod.metadata
        account = pod.spec.serviceAccountName or "default"
        key = (meta.namespace, account, "" if self._shared else meta.uid, need)
        token = self._tokens.get(key)
        if token is not None and self._clock.monotonic() < token.renew_at:
            return token.text
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.ensure_future(self._ask(pod, account, key, need))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    async def _ask(
        self, pod: core.Pod, account: str, key: tuple[str, str, str, TokenNeed], need: TokenNeed
    ) -> str:
        request = authentication.TokenRequest()
        request.metadata.namespace = pod.metadata.namespace
        request.metadata.name = account
        if need.audience:
            request.spec.audiences.append(need.audience)
        request.spec.expirationSeconds = need.expiration_s
        if not self._shared:
            bound = request.spec.boundObjectRef
            bound.kind, bound.apiVersion = "Pod", "v1"
            bound.name, bound.uID = pod.metadata.name, pod.metadata.uid
        client: Any = self._client
        answer: authentication.TokenRequest = await client.create(
            SERVICEACCOUNTS, request, subresource="token", name=account
        )
        status = answer.status
        life = status.expirationTimestamp.seconds - self._clock.now().timestamp()
        life = max(0.0, life) or float(need.expiration_s)
        renew = min(life * _REFRESH_FRACTION, _REFRESH_MAX_S) - self._rng.random() * min(
            _JITTER_MAX_S, life / 10
        )
        self._tokens[key] = _Token(status.token, self._clock.monotonic() + renew)
        return str(status.token)

    def forget_pod(self, uid: str) -> None:
        for key in [k for k in self._tokens if k[2] == uid]:
            del self._tokens[key]


class PodObjects:
    """Everything that volumes and variables of Pods are made from."""

    def __init__(self, client: Client, clock: Clock, tokens: TokenManager) -> None:
        self.config_maps = ObjectCache(client, CONFIGMAPS, clock)
        self.secrets = ObjectCache(client, SECRETS, clock)
        self.runtime_classes = ObjectCache(client, RUNTIMECLASSES, clock)
        self.tokens = tokens

    async def for_volumes(self, pod: core.Pod, needs: VolumeNeeds) -> VolumeObjects:
        """Raises: ApiError."""
        namespace = pod.metadata.namespace
        return VolumeObjects(
            config_maps=await _all(self.config_maps, namespace, needs.config_maps),
            secrets=await _all(self.secrets, namespace, needs.secrets),
            tokens={need: await self.tokens.get(pod, need) for need in sorted(needs.tokens)},
        )

    async def for_environment(
        self, namespace: str, config_maps: Iterable[str], secrets: Iterable[str]
    ) -> tuple[dict[str, core.ConfigMap], dict[str, core.Secret]]:
        """Raises: ApiError."""
        return (
            await _all(self.config_maps, namespace, config_maps),
            await _all(self.secrets, namespace, secrets),
        )

    async def runtime_handler(self, name: str) -> str | None:
        """The handler of a RuntimeClass; "" is the default one, None: there is no such class.

        Raises: ApiError. Source: pkg/kubelet/runtimeclass/runtimeclass_manager.go.
        """
        if not name:
            return ""
        found = await self.runtime_classes.get("", name)
        return found.handler if found is not None else None


async def _all(
    cache: ObjectCache[ObjectT], namespace: str, names: Iterable[str]
) -> dict[str, ObjectT]:
    found = {}
    for name in names:
        obj = await cache.get(namespace, name)
        if obj is not None:
            found[name] = obj
    return found
