"""The watch cache against a model: whatever is written, watched, cut and resumed, nothing is missed
and nothing comes twice."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from apiserver.storage.listing import list_objects
from apiserver.storage.memory import MemoryStorage
from apiserver.storage.watch_cache import WatchCache
from apiserver.storage.watchers import EVERYTHING, Filter
from apiserver.verbs.interface import WatchEvent
from podpath.api import scheme
from podpath.api.errors import ApiError
from podpath.component_base.clock import SystemClock
from tests.support.caching import facts, key_of, pod_value

HISTORY = 4
SELECTIONS = {
    "all": EVERYTHING,
    "namespace": Filter(namespace="one"),
    "node": Filter(
        matches=lambda v: v.object.spec.nodeName == "n1", exact_fields={"spec.nodeName": "n1"}
    ),
    "label": Filter(matches=lambda v: v.object.metadata.labels.get("app") == "x"),
}
PodFacts = tuple[str, str, bool]
"""(namespace, node, labelled)"""


def selected(selection: str, pod: PodFacts | None) -> bool:
    """The model's own idea of the selections."""
    if pod is None:
        return False
    namespace, node, labelled = pod
    return {"all": True, "namespace": namespace == "one", "node": node == "n1", "label": labelled}[
        selection
    ]


class Client:
    """A watch and everything it was told."""

    def __init__(self, selection: str, since: int) -> None:
        self.selection = selection
        self.since = since
        self.seen: list[tuple[str, str, int]] = []
        self.stream: AsyncIterator[Sequence[WatchEvent]] | None = None
        self.pending: asyncio.Task[Sequence[WatchEvent] | None] | None = None
        self.expired = False

    @property
    def at(self) -> int:
        return self.seen[-1][2] if self.seen else self.since


class WatchCacheMachine(RuleBasedStateMachine):
    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.pods: dict[str, tuple[PodFacts, int]] = {}
        self.history: list[tuple[str, PodFacts | None, PodFacts | None, int]] = []
        self.alive: list[Client] = []

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 10))

    @initialize(group_size=st.sampled_from([1, 3, 8]))
    def start(self, group_size: int) -> None:
        async def begin() -> None:
            self.storage = MemoryStorage(group_size=group_size)
            self.cache = WatchCache(scheme.PODS, self.storage, SystemClock(), history_limit=HISTORY)
            self.task = asyncio.ensure_future(self.cache.run())
            await self.cache.wait_ready()

        self.run(begin())

    @rule(
        name=st.sampled_from("abcde"),
        namespace=st.sampled_from(["one", "two"]),
        node=st.sampled_from(["", "n1", "n2"]),
        labelled=st.booleans(),
    )
    def write(self, name: str, namespace: str, node: str, labelled: bool) -> None:
        name = f"{namespace}-{name}"
        old = self.pods.get(name)
        new = (namespace, node, labelled)
        value = pod_value(name, namespace, node=node, labels={"app": "x"} if labelled else {})
        key = key_of(name, namespace)
        if old is None:
            version = self.run(self.storage.create(key, value))
        else:
            version = self.run(self.storage.update(key, value, old[1]))
        self.pods[name] = (new, version)
        self.history.append((name, old[0] if old else None, new, version))

    @rule(name=st.sampled_from("abcde"), namespace=st.sampled_from(["one", "two"]))
    def delete(self, name: str, namespace: str) -> None:
        name = f"{namespace}-{name}"
        if name in self.pods:
            old, version = self.pods.pop(name)
            version = self.run(self.storage.delete(key_of(name, namespace), version))
            self.history.append((name, old, None, version))

    @rule(target=clients, selection=st.sampled_from(sorted(SELECTIONS)))
    def list_and_watch(self, selection: str) -> Client:
        listed = self.run(list_objects(self.cache, SELECTIONS[selection]))
        assert {v.object.metadata.name for v in listed.items} == {
            name for name, (pod, _) in self.pods.items() if selected(selection, pod)
        }
        client = Client(selection, int(listed.resource_version))
        self.alive.append(client)
        return client

    @rule(client=clients, events=st.integers(1, 4))
    def follow(self, client: Client, events: int) -> None:
        """Takes what is there, up to a number of events, then drops the connection."""
        if client.expired:
            return
        self.run(self._follow(client, events))

    async def _follow(self, client: Client, events: int) -> None:
        await self.cache.wait_newest()
        stream = self.cache.watch(SELECTIONS[client.selection], resource_version=str(client.at))
        expected = self._expected(client)
        try:
            while events and len(client.seen) < len(expected):
                batch = facts(await anext(stream))[:events]
                client.seen += batch
                events -= len(batch)
        except ApiError as error:
            if error.reason != "Expired" or client.at >= self.cache.state.oldest:
                raise
            client.expired = True
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    @rule(client=consumes(clients))
    def catch_up(self, client: Client) -> None:
        if not client.expired:
            self.run(self._follow(client, 10_000))
        if not client.expired:
            assert client.seen == self._expected(client)
        self.alive.remove(client)

    @rule()
    def lose_the_storage_watch(self) -> None:
        async def lose() -> None:
            await self.cache.wait_newest()
            self.storage.expire_watches()
            await asyncio.sleep(0)
            await self.cache.wait_newest()

        self.run(lose())

    def _expected(self, client: Client) -> list[tuple[str, str, int]]:
        told = []
        for name, old, new, version in self.history:
            was, is_now = selected(client.selection, old), selected(client.selection, new)
            if version > client.since and (was or is_now):
                kind = "MODIFIED" if was and is_now else "ADDED" if is_now else "DELETED"
                told.append((kind, name, version))
        return told

    @invariant()
    def what_was_told_is_true(self) -> None:
        for client in self.alive:
            assert client.seen == self._expected(client)[: len(client.seen)]

    def teardown(self) -> None:
        async def end() -> None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            await self.loop.shutdown_asyncgens()

        if hasattr(self, "task"):
            self.loop.run_until_complete(end())
        self.loop.close()


TestWatchCacheModel = WatchCacheMachine.TestCase
TestWatchCacheModel.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
