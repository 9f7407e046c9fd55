"""Lists through the cache: versions, pages, tokens, errors."""

from collections.abc import AsyncIterator

import pytest

from apiserver.storage.listing import Continue, list_objects
from apiserver.storage.memory import MemoryStorage
from apiserver.storage.resource_version import revision_of, whole
from apiserver.storage.watch_cache import WatchCache
from apiserver.storage.watchers import Filter
from apiserver.verbs.interface import ListResult
from podpath.api.errors import ApiError
from tests.support.caching import key_of, pod_value, running_cache

NAMES = [f"p{n}" for n in range(7)]


@pytest.fixture
async def storage() -> MemoryStorage:
    storage = MemoryStorage(group_size=8)
    for name in NAMES:
        await storage.create(key_of(name), pod_value(name, node="n" if name in "p1 p4 p6" else ""))
    return storage


@pytest.fixture
async def cache(storage: MemoryStorage) -> AsyncIterator[WatchCache]:
    async with running_cache(storage) as running:
        yield running


def names(result: ListResult) -> list[str]:
    return [v.object.metadata.name for v in result.items]


BOUND = Filter(matches=lambda v: v.object.spec.nodeName == "n")


async def test_a_list_shows_every_acknowledged_write(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    for n in range(20):
        version = await storage.create(key_of(f"q{n}"), pod_value(f"q{n}"))
        result = await list_objects(cache)
        assert result.items[-1].object.metadata.resourceVersion  # type: ignore[attr-defined]
        assert len(result.items) == len(NAMES) + n + 1
        assert int(result.resource_version) >= version


async def test_storage_without_progress_still_lists_the_newest(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot(prefix: str) -> bool:
        return False

    monkeypatch.setattr(storage, "request_progress", cannot)
    async with running_cache(storage) as cache:
        await storage.create("/registry/nodes/n", pod_value("elsewhere"))
        assert names(await list_objects(cache)) == NAMES
        await storage.create(key_of("q"), pod_value("q"))
        assert names(await list_objects(cache)) == [*NAMES, "q"]


@pytest.mark.parametrize("selection", [Filter(), BOUND, Filter(namespace="default")])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_pages_are_one_consistent_list(
    storage: MemoryStorage, cache: WatchCache, selection: Filter, limit: int
) -> None:
    first = await list_objects(cache, selection, limit=limit)
    expected = [n for n in NAMES if selection.matches is None or n in "p1 p4 p6"]
    seen, page = names(first), first
    await storage.create(key_of("p3a"), pod_value("p3a", node="n"))
    while page.continue_token:
        assert len(page.items) == limit
        if selection.matches is None:
            assert page.remaining_item_count == len(expected) - len(seen)
        else:
            assert page.remaining_item_count is None
        page = await list_objects(cache, selection, limit=limit, continue_token=page.continue_token)
        assert page.resource_version == first.resource_version
        seen += names(page)
    assert seen == expected
    assert page.remaining_item_count is None or page.remaining_item_count == 0


async def test_exact_and_not_older_than(storage: MemoryStorage, cache: WatchCache) -> None:
    before = await storage.current_version()
    version = await storage.create(key_of("q"), pod_value("q"))
    exact = await list_objects(cache, resource_version=str(before), match="Exact")
    assert names(exact) == NAMES
    legacy = await list_objects(cache, resource_version=str(before), limit=100)
    assert names(legacy) == NAMES
    newer = await list_objects(cache, resource_version=str(version), match="NotOlderThan")
    assert names(newer) == [*NAMES, "q"]


async def test_0_ignores_the_limit(cache: WatchCache) -> None:
    result = await list_objects(cache, resource_version="0", limit=2)
    assert names(result) == NAMES
    assert not result.continue_token


async def test_a_compacted_page_says_how_to_go_on(
    storage: MemoryStorage, cache: WatchCache
) -> None:
    page = await list_objects(cache, limit=3)
    await storage.create(key_of("q"), pod_value("q"))
    await storage.create(key_of("r"), pod_value("r"))
    storage.compact(await storage.current_version())
    with pytest.raises(ApiError) as error:
        await list_objects(cache, limit=3, continue_token=page.continue_token)
    assert (error.value.code, error.value.reason) == (410, "Expired")
    assert "The provided continue parameter is too old" in str(error.value)
    token = getattr(error.value.status.metadata, "continue")
    rest = await list_objects(cache, continue_token=token)
    assert names(rest) == [*NAMES[3:], "q", "r"]
    with pytest.raises(ApiError, match="provided list is too old"):
        await list_objects(cache, resource_version=page.resource_version, match="Exact")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        pytest.param({"resource_version": "abc"}, 400, "invalid resource version", id="text"),
        pytest.param({"resource_version": "-1"}, 400, "invalid resource version", id="negative"),
        pytest.param({"continue_token": "!"}, 400, "continue key is not valid", id="no token"),
        pytest.param({"continue_token": "e30"}, 400, "continue key is not valid", id="empty token"),
        pytest.param(
            {"continue_token": Continue(5, "../x").encode()}, 400, "not valid", id="escaping token"
        ),
        pytest.param(
            {"continue_token": Continue(5, "a").encode(), "resource_version": "5"},
            400,
            "specifying resource version is not allowed when using continue",
            id="both",
        ),
        pytest.param(
            {"resource_version": str(whole(10**6)), "match": "Exact"},
            504,
            "Too large resource version",
            id="future",
        ),
    ],
)
async def test_bad_requests(
    cache: WatchCache, options: dict[str, str], code: int, message: str
) -> None:
    with pytest.raises(ApiError, match=message) as error:
        await list_objects(cache, **options)  # type: ignore[arg-type]
    assert error.value.code == code


def test_token_is_upstreams() -> None:
    assert Continue.decode(
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiJkZWZhdWx0L2FcdTAwMDAifQ"
    ) == Continue(5, "default/a\0")
    assert revision_of(Continue.decode(Continue(whole(9), "a\0").encode()).version) == 9
