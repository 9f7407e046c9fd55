"""Which store, strategies and subresources serve each resource: one table."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apiserver.caches import Caches
from apiserver.registry.batch.job import JobStrategy
from apiserver.registry.certificates.certificatesigningrequest import CsrStrategy
from apiserver.registry.core import event
from apiserver.registry.core.namespace import NamespaceFinalizeStrategy, NamespaceStrategy
from apiserver.registry.core.pod import PodStrategy
from apiserver.registry.core.pod_status import PodStatusStrategy, stamp_running
from apiserver.registry.core.pod_subresources import EphemeralContainersStrategy, ResizeStrategy
from apiserver.registry.core.secret import SecretStrategy
from apiserver.registry.core.service import ServiceStrategy
from apiserver.registry.core.service_allocation import ServiceAllocations
from apiserver.registry.store import Store
from apiserver.registry.strategy import GenericStrategy, StatusStrategy, Strategy
from apiserver.registry.views import View, view_of
from apiserver.storage.interface import Storage
from podpath.api import errors, scheme
from podpath.api.scheme import Resource
from podpath.component_base.clock import Clock

OnStored = Callable[[Any, Any], None]
"""Told (new, old) when an update is stored."""

Begin = Callable[[Any, Any | None], Awaitable[Callable[[bool], None]]]
"""Gives a valid (new, old or None) what the server gives out; returns what to call with whether it
was stored in the end. Raises: ApiError."""

# Kinds whose updates must name the version they replace.
_CONDITIONAL_ONLY = frozenset(
    {
        scheme.LEASES,
        scheme.PODDISRUPTIONBUDGETS,
        scheme.CSINODES,
        scheme.CSIDRIVERS,
        scheme.VOLUMEATTACHMENTS,
        scheme.RUNTIMECLASSES,
        scheme.VALIDATINGWEBHOOKCONFIGURATIONS,
        scheme.MUTATINGWEBHOOKCONFIGURATIONS,
        scheme.VALIDATINGADMISSIONPOLICIES,
        scheme.VALIDATINGADMISSIONPOLICYBINDINGS,
        scheme.SERVICECIDRS,
        scheme.IPADDRESSES,
    }
)

# Kinds that an update may create.
_CREATED_BY_UPDATE = frozenset(
    {
        scheme.EVENTS,
        scheme.ENDPOINTS,
        scheme.LEASES,
        scheme.LIMITRANGES,
        scheme.ROLES,
        scheme.ROLEBINDINGS,
        scheme.CLUSTERROLES,
        scheme.CLUSTERROLEBINDINGS,
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """How one resource is served. `updates` maps a subresource to the strategy of its update;
    `begin` is asked for writes of the object itself."""

    view: View
    store: Store
    strategy: Strategy
    updates: Mapping[str, Strategy] = field(default_factory=dict)
    on_stored: Mapping[str, OnStored] = field(default_factory=dict)
    begin: Begin | None = None
    unconditional_update: bool = True
    created_by_update: bool = False


class Registry:
    """Entries of all stored resources, made when first asked for."""

    def __init__(
        self, storage: Storage, caches: Caches, clock: Clock, service_cluster_ip_range: str
    ) -> None:
        self._storage = storage
        self._caches = caches
        self._clock = clock
        self._entries: dict[Resource[Any], Entry] = {}
        self._allocations = ServiceAllocations(service_cluster_ip_range, caches, caches)

    def entry(self, resource: Resource[Any]) -> Entry:
        """Raises: ApiError (MethodNotAllowed) for what is never stored."""
        found = self._entries.get(resource)
        if found is None:
            found = self._entries[resource] = self._make(resource)
        return found

    def _make(self, resource: Resource[Any]) -> Entry:
        if "create" not in resource.verbs or "get" not in resource.verbs:
            raise errors.method_not_supported(resource.group, resource.name, "get")
        view = view_of(resource)
        stored = view.stored
        strategy = self._strategy(stored)
        ttl_s = event.TTL_S if stored is scheme.EVENTS else 0
        return Entry(
            view,
            Store(stored, self._storage, self._caches, self._clock, ttl_s=ttl_s),
            strategy,
            _updates(stored, strategy),
            {"status": stamp_running} if stored is scheme.PODS else {},
            self._allocations if stored is scheme.SERVICES else None,
            unconditional_update=stored not in _CONDITIONAL_ONLY,
            created_by_update=stored in _CREATED_BY_UPDATE,
        )

    def _strategy(self, resource: Resource[Any]) -> Strategy:
        if resource is scheme.CERTIFICATESIGNINGREQUESTS:
            return CsrStrategy(resource, self._clock)
        special = {
            scheme.PODS: PodStrategy,
            scheme.NAMESPACES: NamespaceStrategy,
            scheme.SECRETS: SecretStrategy,
            scheme.SERVICES: ServiceStrategy,
            scheme.JOBS: JobStrategy,
        }
        return special.get(resource, GenericStrategy)(resource)


def _updates(resource: Resource[Any], strategy: Strategy) -> dict[str, Strategy]:
    """The strategies of updates: of the object itself ("") and of its subresources."""
    updates: dict[str, Strategy] = {"": strategy}
    if "status" in resource.subresources:
        status = PodStatusStrategy if resource is scheme.PODS else StatusStrategy
        updates["status"] = status(strategy)
    if resource is scheme.PODS:
        updates["ephemeralcontainers"] = EphemeralContainersStrategy(strategy)
        updates["resize"] = ResizeStrategy(strategy)
    if "scale" in resource.subresources:
        updates["scale"] = strategy
    if isinstance(strategy, CsrStrategy):
        updates |= strategy.updates()
    if resource is scheme.NAMESPACES:
        updates["finalize"] = NamespaceFinalizeStrategy(strategy)
    return updates
