"""Lists: what `resourceVersion`, `resourceVersionMatch`, `limit` and `continue` mean.

| resourceVersion | answer |
|---|---|
| unset | the newest: every write acknowledged before is in it; from the cache, once it is so far |
| "0" | what the cache has; `limit` is ignored |
| N, NotOlderThan | from the cache, once it is so far |
| N, Exact (and N with a limit but no match) | as of N, from storage |
| `continue` | as of the first page, from storage |

Source: k8s.io/apiserver pkg/storage/cacher/delegator, pkg/storage/continue.go.
"""

import base64
import binascii
from dataclasses import dataclass

import orjson

from apiserver.storage.interface import CompactedError, FutureVersionError
from apiserver.storage.keys import successor
from apiserver.storage.read_errors import (
    continue_too_old,
    list_too_old,
    parse_version,
    too_large_version,
)
from apiserver.storage.resource_version import WHOLE_REVISION, index_of
from apiserver.storage.version import ObjectVersion
from apiserver.storage.watch_cache import WatchCache
from apiserver.storage.watchers import EVERYTHING, Filter
from apiserver.verbs.interface import ListResult
from podpath.api import errors

_CHUNK = 500  # keys read at once when a selector may drop most of them
_NEWEST = -1  # a token's version after its state was compacted: go on in the newest


@dataclass(frozen=True, slots=True)
class Continue:
    """What a continue token says: the list's version, and the first key of the next page, relative
    to the list's prefix."""

    version: int
    start: str

    def encode(self) -> str:
        tree = {"v": "meta.k8s.io/v1", "rv": self.version, "start": self.start}
        return base64.urlsafe_b64encode(orjson.dumps(tree)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, token: str) -> "Continue":
        """Raises: BadRequest."""
        try:
            padded = token + "=" * (-len(token) % 4)
            tree = orjson.loads(base64.urlsafe_b64decode(padded))
            version, start, kind = tree["rv"], tree["start"], tree["v"]
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise errors.bad_request(f"continue key is not valid: {error}") from None
        if kind != "meta.k8s.io/v1":
            raise errors.bad_request(
                "continue key is not valid: server does not recognize this encoded version"
                f' "{kind}"'
            )
        if not isinstance(version, int) or not isinstance(start, str) or not start or not version:
            raise errors.bad_request("continue key is not valid: incorrect encoded start")
        if ".." in start.split("/"):
            raise errors.bad_request(f'continue key is not valid: "{start}"')
        return cls(version, start)


async def list_objects(
    cache: WatchCache,
    selection: Filter = EVERYTHING,
    *,
    resource_version: str = "",
    match: str = "",
    limit: int = 0,
    continue_token: str = "",
) -> ListResult:
    """One page of a resource. Raises: ApiError, StorageUnavailableError."""
    asked = parse_version(resource_version)
    if continue_token:
        if asked:
            raise errors.bad_request(
                "specifying resource version is not allowed when using continue"
            )
        token = Continue.decode(continue_token)
        return await _from_storage(cache, selection, token.version, limit, token.start)
    if asked and (match == "Exact" or (limit and not match)):
        return await _from_storage(cache, selection, asked, limit, "")
    if asked:
        await cache.wait_until(asked)
    elif resource_version:  # "0": anything will do, and all of it
        await cache.wait_ready()
        limit = 0
    else:
        await cache.wait_newest()
    if limit and index_of(cache.state.version) != WHOLE_REVISION:
        # In the middle of a revision there is no state that later pages could go on from.
        return await _from_storage(cache, selection, 0, limit, "")
    return _from_cache(cache, selection, limit)


def _from_cache(cache: WatchCache, selection: Filter, limit: int) -> ListResult:
    state = cache.state
    prefix = cache.prefix_of(selection.namespace)
    held = state.select(prefix)
    version = state.version
    if not limit or (limit >= len(held)):
        return ListResult([v for v in held if selection.accepts(v)], str(version))
    items: list[ObjectVersion] = []
    for position, each in enumerate(held):
        if selection.accepts(each):
            if len(items) == limit:
                start = cache.key_of(items[-1]).removeprefix(prefix)
                token = Continue(version, successor(start)).encode()
                remaining = len(held) - position if selection.matches is None else None
                return ListResult(items, str(version), token, remaining)
            items.append(each)
    return ListResult(items, str(version))


async def _from_storage(
    cache: WatchCache, selection: Filter, version: int, limit: int, start: str
) -> ListResult:
    prefix = cache.prefix_of(selection.namespace)
    items: list[ObjectVersion] = []
    first = start
    start = prefix + start if start else ""
    version = 0 if version == _NEWEST else version
    chunk = limit if selection.matches is None else max(limit, _CHUNK)
    while True:
        try:
            page = await cache.storage.list(
                prefix, limit=chunk if limit else 0, from_key=start, version=version
            )
        except CompactedError:
            raise (
                continue_too_old(Continue(_NEWEST, first).encode()) if first else list_too_old()
            ) from None
        except FutureVersionError as error:
            raise too_large_version(error.asked, error.current) from None
        version = page.version
        for position, stored in enumerate(page.items):
            found = cache.state.known(stored)
            if found is None or not selection.accepts(found):
                continue
            items.append(found)
            more = position + 1 < len(page.items) or bool(page.next_key)
            if limit and len(items) == limit and more:
                token = Continue(version, successor(stored.key.removeprefix(prefix))).encode()
                remaining = len(page.items) - position - 1 + page.remaining
                return ListResult(
                    items, str(version), token, remaining if selection.matches is None else None
                )
        if not page.next_key:
            return ListResult(items, str(version))
        start = page.next_key
