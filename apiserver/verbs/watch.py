"""WATCH: changes as they happen, from the watch cache.

Source: k8s.io/apiserver pkg/endpoints/handlers/watch.go, pkg/storage/cacher.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from apiserver.storage.read_errors import parse_version
from apiserver.verbs.context import Context
from apiserver.verbs.interface import Target, WatchEvent, WatchOptions
from apiserver.verbs.selection import filter_of

# A watch whose client gives no timeout ends at random within this, so that they do not all
# reconnect at once.
TIMEOUT_MIN_S = 1800.0
TIMEOUT_MAX_S = 3600.0


async def watch(
    context: Context, target: Target, options: WatchOptions
) -> AsyncIterator[Sequence[WatchEvent]]:
    """Events in batches. Raises: BadRequest, Expired, Timeout, before the first event."""
    view = context.registry.entry(target.resource).view
    selection = filter_of(view, target, options.selectors)
    parse_version(options.resource_version)
    timeout_s = options.timeout_s or context.random.uniform(TIMEOUT_MIN_S, TIMEOUT_MAX_S)
    events = context.caches.cache(view.stored).watch(
        selection,
        resource_version=options.resource_version,
        send_initial_events=options.send_initial_events,
        bookmarks=options.allow_bookmarks,
        timeout_s=timeout_s,
    )
    async with aclosing(events):  # type: ignore[type-var]
        async for batch in events:
            if view.resource is view.stored:
                yield batch
            else:
                yield [WatchEvent(event.type, view.show(event.version)) for event in batch]
