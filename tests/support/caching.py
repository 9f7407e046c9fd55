"""A watch cache over a storage, run for the time of a test; and small Pods to store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from apiserver.storage.interface import Storage, Value
from apiserver.storage.watch_cache import WatchCache
from apiserver.verbs.interface import WatchEvent
from podpath.api import scheme
from podpath.component_base.clock import Clock, SystemClock
from protos.k8s.core_v1_pb2 import Pod

EventFacts = tuple[str, str, int]
"""(type, name, version)"""


def key_of(name: str, namespace: str = "default") -> str:
    return scheme.PODS.storage_key(namespace, name)


def pod_value(
    name: str, namespace: str = "default", *, node: str = "", labels: dict[str, str] | None = None
) -> Value:
    pod = Pod()
    pod.metadata.name = name
    pod.metadata.namespace = namespace
    pod.metadata.labels.update(labels or {})
    if node:
        pod.spec.nodeName = node
    return Value("v1", "Pod", pod.SerializeToString(deterministic=True))


@asynccontextmanager
async def running_cache(
    storage: Storage, *, clock: Clock | None = None, history_limit: int = 4096
) -> AsyncIterator[WatchCache]:
    """A cache of Pods that has listed."""
    cache = WatchCache(scheme.PODS, storage, clock or SystemClock(), history_limit=history_limit)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(cache.run())
        try:
            await cache.wait_ready()
            yield cache
        finally:
            running.cancel()


def facts(events: Sequence[WatchEvent]) -> list[EventFacts]:
    return [
        (e.type, e.version.object.metadata.name, int(e.version.object.metadata.resourceVersion))
        for e in events
    ]


async def collect(stream: AsyncIterator[Sequence[WatchEvent]], count: int) -> list[EventFacts]:
    """The first `count` events of a watch; closes it. Fails after a minute."""
    seen: list[EventFacts] = []
    try:
        async with asyncio.timeout(60):
            while len(seen) < count:
                seen += facts(await anext(stream))
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
    return seen
