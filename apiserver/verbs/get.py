"""GET of one object or of a subresource, and connecting to one.

Source: k8s.io/apiserver pkg/endpoints/handlers/get.go.
"""

from apiserver.admission.interface import Attributes
from apiserver.verbs.context import Context
from apiserver.verbs.interface import Target, UserInfo, Version
from apiserver.verbs.update import show, strategy_of


async def get(context: Context, target: Target, resource_version: str) -> Version:
    """The newest object, or with resource_version "0" the cache's. Raises: NotFound."""
    entry = context.registry.entry(target.resource)
    strategy_of(entry, target)
    if resource_version == "0":
        cached = await context.caches.find(entry.view.stored, target.namespace, target.name)
        if cached is not None:
            return show(entry, target, cached)
    return show(entry, target, await entry.store.get(target.namespace, target.name))


async def connect(context: Context, user: UserInfo, target: Target, verb: str) -> Version:
    """The Pod, Node or Service behind a streaming subresource, once CONNECT is admitted."""
    entry = context.registry.entry(target.resource)
    owner = await entry.store.get(target.namespace, target.name)
    if verb != "get" or target.subresource != "log":
        attributes = Attributes(user, target, "CONNECT", None, None)
        await context.admission.mutate(attributes)
        await context.admission.validate(attributes)
    return owner
