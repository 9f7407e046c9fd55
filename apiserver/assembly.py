"""Puts an API server together over a storage, without doors: what `server.py` and tests serve."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from apiserver.admission.chain import Chain
from apiserver.admission.interface import Plugin
from apiserver.admission.resource_quota import ResourceQuotaAdmission
from apiserver.authorization.interface import Authorizer
from apiserver.caches import Caches
from apiserver.handler_chain import HandlerChain
from apiserver.registry.registry import Registry
from apiserver.registry.subresources import Handlers
from apiserver.storage.interface import Storage
from apiserver.verbs.context import Context
from apiserver.verbs.creation import NO_TRACING, Tracing
from podpath.api import scheme
from podpath.component_base.clock import Clock

# What requests to anything else look at: admission, authorization, the allocators.
EAGER = (
    scheme.NAMESPACES,
    scheme.PODS,
    scheme.NODES,
    scheme.SERVICEACCOUNTS,
    scheme.SECRETS,  # bootstrap tokens
    scheme.SERVICES,
    scheme.LIMITRANGES,
    scheme.RESOURCEQUOTAS,
    scheme.PODDISRUPTIONBUDGETS,
    scheme.CLUSTERROLES,
    scheme.CLUSTERROLEBINDINGS,
    scheme.ROLES,
    scheme.ROLEBINDINGS,
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may do what, and what is changed or refused on the way in."""

    authorizer: Authorizer
    plugins: Sequence[Plugin] = ()
    handlers: Handlers = field(default_factory=dict)


def make_caches(storage: Storage, clock: Clock) -> Caches:
    """The caches; `run` them before the chain serves."""
    return Caches(storage, clock, EAGER)


def make_chain(  # the parts of a server
    storage: Storage,
    caches: Caches,
    policy: Policy,
    clock: Clock,
    *,
    service_cluster_ip_range: str = "10.96.0.0/16",
    reads_max: int = 400,
    writes_max: int = 200,
    tracing: Tracing = NO_TRACING,
) -> HandlerChain:
    """What both doors call."""
    registry = Registry(storage, caches, clock, service_cluster_ip_range)
    for plugin in policy.plugins:
        if isinstance(plugin, ResourceQuotaAdmission):
            plugin.charge_to(registry.entry(scheme.RESOURCEQUOTAS).store)
    context = Context(
        registry=registry,
        caches=caches,
        storage=storage,
        admission=Chain(policy.plugins),
        authorizer=policy.authorizer,
        handlers=policy.handlers,
        clock=clock,
        tracing=tracing,
    )
    return HandlerChain(context, reads_max=reads_max, writes_max=writes_max)
