"""LIST: from storage, or from the cache where the client allows an older state.

    resourceVersion   limit   served from
    ""                no      the cache, once it has come to storage's newest version
    ""                yes     storage, now
    "0"               any     the cache, whatever it holds
    N                 any     the cache, once it has come to N (NotOlderThan)
    N, Exact          any     storage, as of N
    continue token            storage, as of the first page

Source: k8s.io/apiserver pkg/endpoints/handlers/get.go, pkg/storage/etcd3/store.go (GetList).
"""

from dataclasses import dataclass, field
from typing import Any

from apiserver.registry.store import unavailable
from apiserver.registry.views import View
from apiserver.storage.interface import (
    CompactedError,
    FutureVersionError,
    Page,
    StorageUnavailableError,
)
from apiserver.storage.read_errors import (
    continue_too_old,
    list_too_old,
    parse_version,
    too_large_version,
)
from apiserver.storage.version import decode
from apiserver.storage.watchers import Filter
from apiserver.verbs import continue_token
from apiserver.verbs.context import Context
from apiserver.verbs.continue_token import INCONSISTENT, Position
from apiserver.verbs.interface import ListOptions, ListResult, Target, Version
from apiserver.verbs.selection import filter_of
from podpath.api import errors

async def list_objects(context: Context, target: Target, options: ListOptions) -> ListResult:
    """One page of objects. Raises: BadRequest, Expired, Timeout."""
    view = context.registry.entry(target.resource).view
    selection = filter_of(view, target, options.selectors)
    if not options.continue_token and _from_cache(options):
        return await _cached(context, view, target, options, selection)
    name = selection.exact_fields.get("metadata.name", "")
    in_one_place = bool(target.namespace) or not target.resource.namespaced
    if name and in_one_place and not options.continue_token:
        return await _one(context, view, target, options, selection, name)
    if not (options.limit or options.continue_token or options.resource_version):
        newest = await context.caches.list_newest(view.stored, target.namespace)
        if newest is not None:
            return ListResult(_shown(view, newest[0], selection), str(newest[1]))
    return await _pages(context, view, target, options, selection)


def _from_cache(options: ListOptions) -> bool:
    # Upstream serves a limit from the cache only for "0", which ignores the limit.
    return bool(options.resource_version) and options.resource_version_match != "Exact"


async def _cached(
    context: Context, view: View, target: Target, options: ListOptions, selection: Filter
) -> ListResult:
    at_least = parse_version(options.resource_version)
    held, version = await context.caches.list_versions(view.stored, target.namespace, at_least)
    return ListResult(_shown(view, held, selection), str(version))


def _shown(view: View, held: Any, selection: Filter) -> list[Version]:
    if selection.matches is None:
        return [view.show(version) for version in held]
    return [view.show(version) for version in held if selection.matches(version)]


async def _one(
    context: Context,
    view: View,
    target: Target,
    options: ListOptions,
    selection: Filter,
    name: str,
) -> ListResult:
    """`metadata.name=NAME`: one key instead of a range."""
    key = view.stored.storage_key(target.namespace, name)
    page = await _read(context, view, key, options, 1, Position("", _exact(options)))
    held = [decode(view.stored, stored) for stored in page.items if stored.key == key]
    return ListResult(_shown(view, held, selection), str(page.version))


def _exact(options: ListOptions) -> int:
    return parse_version(options.resource_version)


@dataclass(slots=True)
class _Found:
    """What the pages read so far hold."""

    items: list[Version] = field(default_factory=list)
    version: int = 0
    next_key: str = ""
    remaining: int = 0


async def _pages(
    context: Context, view: View, target: Target, options: ListOptions, selection: Filter
) -> ListResult:
    """Reads storage until the limit is reached: selectors may leave little of each range."""
    prefix = view.stored.storage_prefix
    if target.namespace and target.resource.namespaced:
        prefix += f"{target.namespace}/"
    position = Position("", _exact(options))
    if options.continue_token:
        if options.resource_version not in ("", "0"):
            text = "specifying resource version is not allowed when using continue"
            raise errors.bad_request(text)
        position = continue_token.decode(options.continue_token)
    limit = max(options.limit, 0)
    found = _Found()
    while True:
        wanted = limit - len(found.items) if limit else 0
        page = await _read(context, view, prefix, options, wanted, position)
        found.version = found.version or page.version
        held = [decode(view.stored, stored) for stored in page.items]
        found.items += _shown(view, held, selection)
        found.next_key, found.remaining = page.next_key, page.remaining
        if not page.next_key or (limit and len(found.items) >= limit):
            break
        position = Position(page.next_key.removeprefix(prefix), found.version)
    if not found.next_key:
        return ListResult(found.items, str(found.version))
    token = continue_token.encode(Position(found.next_key.removeprefix(prefix), found.version))
    # Behind a selector nobody knows how many more there are.
    remaining = found.remaining if selection.matches is None else None
    return ListResult(found.items, str(found.version), token, remaining)


async def _read(
    context: Context,
    view: View,
    prefix: str,
    options: ListOptions,
    limit: int,
    position: Position,
) -> Page:
    version = 0 if position.version == INCONSISTENT else position.version
    start = prefix + position.start if position.start else ""
    try:
        return await context.storage.list(prefix, limit=limit, from_key=start, version=version)
    except CompactedError:
        if options.continue_token:
            token = continue_token.encode(Position(position.start, INCONSISTENT))
            raise continue_too_old(token) from None
        raise list_too_old() from None
    except FutureVersionError as error:
        raise too_large_version(error.asked, error.current) from None
    except StorageUnavailableError as error:
        raise unavailable(view.stored, "list", error) from error
