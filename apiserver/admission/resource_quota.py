"""ResourceQuota: what a namespace may hold is charged before it is stored.

The charge is a compare-and-swap of the quota's status. Requests that come while one is under way
wait and are charged together by the next write.

    waiting requests -> one at a time: judged against the quotas, added up -> one write a quota

What a request was charged for and did not store in the end is given back by the quota controller,
which counts anew, as upstream has it.

Source: k8s.io/apiserver pkg/admission/plugin/resourcequota/{admission,controller}.go.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from apiserver.admission import quota_usage
from apiserver.admission.interface import Attributes
from apiserver.admission.quota_usage import Usage
from apiserver.admission.rejection import forbidden
from apiserver.lister import ChangeSource
from podpath.api import errors, quantity, scheme
from podpath.api.errors import ApiError
from podpath.api.quantity import Quantity
from protos.k8s.core_v1_pb2 import Pod, ResourceQuota

ATTEMPTS_MAX = 5

_COUNTED_UPDATES = frozenset({scheme.SERVICES, scheme.PERSISTENTVOLUMECLAIMS})


class Swapper(Protocol):
    """Where quotas are written: `apiserver.registry.store.Store` of ResourceQuotas."""

    async def swap(self, obj: Any) -> Any:
        """Stores `obj` in place of the version that it names.

        Returns the stored object. Raises: ApiError (Conflict, NotFound).
        """

    async def find(self, namespace: str, name: str) -> Any | None: ...


@dataclass(eq=False, slots=True)
class _Charge:
    """A request that waits to be charged; `quotas` are the names of those that it touches."""

    attributes: Attributes
    usage: Usage
    settled: bool = False
    error: ApiError | None = None


@dataclass(slots=True)
class _Namespace:
    """The quotas of a namespace, newest first known, and who waits for them."""

    quotas: dict[str, ResourceQuota] = field(default_factory=dict)
    waiting: list[_Charge] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ResourceQuotaAdmission:
    """A validating plugin, the last one: what it has charged, nobody refuses any more."""

    name = "ResourceQuota"

    def __init__(self, changes: ChangeSource) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        self._store: Swapper | None = None
        changes.subscribe(scheme.RESOURCEQUOTAS, self._follow)

    def charge_to(self, store: Swapper) -> None:
        """Where the charges are written; called once, before anything is admitted."""
        self._store = store

    def handles(self, attributes: Attributes) -> bool:
        target = attributes.target
        if target.namespace not in self._namespaces:
            return False
        if target.subresource:
            resizes = target.resource is scheme.PODS and target.subresource == "resize"
            return resizes and attributes.operation == "UPDATE"
        if attributes.operation == "UPDATE":
            return target.resource in _COUNTED_UPDATES
        return attributes.operation == "CREATE"

    async def validate(self, attributes: Attributes) -> None:
        """Raises: Forbidden when a quota would be exceeded; ApiError when it cannot be written."""
        resource = attributes.target.resource
        used = quota_usage.usage(resource, attributes.object)
        if attributes.old_object is not None:
            used = quota_usage.increase(used, quota_usage.usage(resource, attributes.old_object))
        place = self._namespaces[attributes.target.namespace]
        if not used or not place.quotas:
            return
        if attributes.dry_run:
            _judge(attributes, used, place.quotas)
            return
        await self._charged(place, _Charge(attributes, used))

    async def _charged(self, place: _Namespace, charge: _Charge) -> None:
        place.waiting.append(charge)
        try:
            async with place.lock:
                if not charge.settled:
                    await self._settle(place)
        except BaseException:
            charge.settled = True
            if charge in place.waiting:
                place.waiting.remove(charge)
            raise
        if charge.error is not None:
            raise charge.error

    async def _settle(self, place: _Namespace) -> None:
        """Charges all that wait: again from the start for those that a lost race concerns."""
        for _ in range(ATTEMPTS_MAX):
            charges = list(place.waiting)
            for charge in charges:
                charge.error = None
            changed = _decide(charges, place.quotas)
            if not await self._write(place, changed):
                for charge in charges:
                    charge.settled = True
                    if charge in place.waiting:  # it may have been cancelled
                        place.waiting.remove(charge)
                return
        for charge in place.waiting:
            charge.settled = True
            target = charge.attributes.target
            charge.error = errors.server_timeout(
                target.resource.group, target.resource.name, "create"
            )
        place.waiting.clear()

    async def _write(self, place: _Namespace, changed: Mapping[str, ResourceQuota]) -> bool:
        """True when another writer came first: the quotas are what storage holds now."""
        assert self._store is not None
        lost = False
        for name, quota in changed.items():
            try:
                place.quotas[name] = await self._store.swap(quota)
            except ApiError as error:
                if error.reason not in ("Conflict", "NotFound"):
                    raise
                lost = True
                found = await self._store.find(quota.metadata.namespace, name)
                if found is None:
                    place.quotas.pop(name, None)
                else:
                    place.quotas[name] = found
        return lost

    def _follow(self, old: ResourceQuota | None, new: ResourceQuota | None) -> None:
        if new is not None:
            meta = new.metadata
            place = self._namespaces.setdefault(meta.namespace, _Namespace())
            known = place.quotas.get(meta.name)
            if known is None or _version(known) < _version(new):
                place.quotas[meta.name] = new
        elif old is not None:
            place = self._namespaces.setdefault(old.metadata.namespace, _Namespace())
            place.quotas.pop(old.metadata.name, None)
            if not place.quotas and not place.waiting and not place.lock.locked():
                del self._namespaces[old.metadata.namespace]


def _version(quota: ResourceQuota) -> int:
    return int(quota.metadata.resourceVersion or 0)


def _decide(
    charges: Iterable[_Charge], quotas: Mapping[str, ResourceQuota]
) -> dict[str, ResourceQuota]:
    """Notes who is refused; returns the quotas with what the others add, under their names."""
    current = dict(quotas)
    changed: dict[str, ResourceQuota] = {}
    for charge in charges:
        try:
            added = _judge(charge.attributes, charge.usage, current)
        except ApiError as error:
            charge.error = error
            continue
        for name, used in added.items():
            quota = ResourceQuota()
            quota.CopyFrom(current[name])
            for counted, amount in used.items():
                quota.status.used[counted].string = str(amount)
            current[name] = changed[name] = quota
    return changed


def _judge(
    attributes: Attributes, used: Usage, quotas: Mapping[str, ResourceQuota]
) -> dict[str, Usage]:
    """What each quota's usage becomes. Raises: Forbidden."""
    becomes: dict[str, Usage] = {}
    for name in sorted(quotas):
        quota = quotas[name]
        if not quota_usage.covers(quota, attributes.object):
            continue
        bounded = set(quota.status.hard)
        _require_stated(attributes, name, bounded)
        counted = {key: amount for key, amount in used.items() if key in bounded}
        if counted:
            becomes[name] = _after(attributes, quota, counted)
    return becomes


def _require_stated(attributes: Attributes, name: str, bounded: Iterable[str]) -> None:
    obj = attributes.object
    if not isinstance(obj, Pod) or attributes.operation != "CREATE":
        return
    if missing := quota_usage.unstated(obj, bounded):
        raise forbidden(attributes, f"failed quota: {name}: must specify {missing}")


def _after(attributes: Attributes, quota: ResourceQuota, counted: Usage) -> Usage:
    """Raises: Forbidden, in upstream's words."""
    name = quota.metadata.name
    hard = {key: quantity.parse(quota.status.hard[key].string) for key in counted}
    if unknown := sorted(key for key in counted if key not in quota.status.used):
        text = f"status unknown for quota: {name}, resources: {','.join(unknown)}"
        raise forbidden(attributes, text)
    before = {key: quantity.parse(quota.status.used[key].string) for key in counted}
    after = {key: quantity.add(before[key], amount) for key, amount in counted.items()}
    over = sorted(key for key in after if quantity.compare(after[key], hard[key]) > 0)
    if over:
        requested, used, limited = (_listed(part, over) for part in (counted, before, hard))
        raise forbidden(
            attributes,
            f"exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}",
        )
    return after


def _listed(amounts: Mapping[str, Quantity], names: Iterable[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)
