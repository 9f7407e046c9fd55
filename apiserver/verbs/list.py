"""LIST: one page of a resource's objects.

What resourceVersion, limit and continue mean is in `storage/listing.py`.

Source: k8s.io/apiserver pkg/endpoints/handlers/get.go (ListResource).
"""

from apiserver.registry.store import unavailable
from apiserver.storage import listing
from apiserver.storage.interface import StorageUnavailableError
from apiserver.verbs.context import Context
from apiserver.verbs.interface import ListOptions, ListResult, Target
from apiserver.verbs.selection import filter_of


async def list_objects(context: Context, target: Target, options: ListOptions) -> ListResult:
    """Raises: ApiError (BadRequest, Expired, Timeout, ServerTimeout)."""
    view = context.registry.entry(target.resource).view
    selection = filter_of(view, target, options.selectors)
    try:
        found = await listing.list_objects(
            context.caches.cache(view.stored),
            selection,
            resource_version=options.resource_version,
            match=options.resource_version_match,
            limit=max(options.limit, 0),
            continue_token=options.continue_token,
        )
    except StorageUnavailableError as error:
        raise unavailable(view.stored, "list", error) from error
    if view.resource is view.stored:
        return found
    return ListResult(
        [view.show(version) for version in found.items],
        found.resource_version,
        found.continue_token,
        found.remaining_item_count,
    )
