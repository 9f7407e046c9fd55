"""How long Pods take from the create call until a watch sees them Running."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from podpath.api import scheme
from podpath.client.interface import Client, EventType, Selection
from podpath.component_base.clock import Clock
from protos.k8s.core_v1_pb2 import Container, Pod, PodSpec
from protos.k8s.meta_v1_pb2 import DeleteOptions, ObjectMeta

_LABEL = "podpath.io/latency"
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds, one a Pod."""

    seconds: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """The nearest-rank percentile; `share` is between 0 and 1."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def pod(name: str, run: str, image: str) -> Pod:
    """A bare one-container Pod that sleeps."""
    spec = PodSpec(
        containers=[Container(name="c", image=image, command=["sleep", "3600"])],
        terminationGracePeriodSeconds=0,
        automountServiceAccountToken=False,
    )
    meta = ObjectMeta(name=name, namespace="default", labels={_LABEL: run})
    return Pod(metadata=meta, spec=spec)


async def measure(
    client: Client, clock: Clock, run: str, count: int, image: str, *, at_once: bool
) -> Latencies:
    """Creates `count` Pods one after another or at once, waits for Running, and deletes them.

    Raises: TimeoutError when they are not Running within two minutes.
    """
    names = [f"{run}-{i}" for i in range(count)]
    watcher = _Watcher(client, clock, run)
    async with asyncio.timeout(_TIMEOUT_S), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watcher.run())
        await watcher.ready.wait()
        created: dict[str, float] = {}

        async def create(name: str) -> None:
            created[name] = clock.monotonic()
            await client.create(scheme.PODS, pod(name, run, image))
            await watcher.running(name)

        if at_once:
            await asyncio.gather(*(create(name) for name in names))
        else:
            for name in names:
                await create(name)
        for name in names:
            await client.delete(scheme.PODS, "default", name, DeleteOptions(gracePeriodSeconds=0))
        await watcher.all_gone(names)
        watching.cancel()
    return Latencies(tuple(watcher.seen[name] - created[name] for name in names))


class _Watcher:
    def __init__(self, client: Client, clock: Clock, run: str) -> None:
        self._client = client
        self._clock = clock
        self._selection = Selection("default", f"{_LABEL}={run}")
        self._changed = asyncio.Condition()
        self._gone: set[str] = set()
        self.ready = asyncio.Event()
        self.seen: dict[str, float] = {}

    async def run(self) -> None:
        listed = await self._client.list(scheme.PODS, self._selection)
        self.ready.set()
        async for events in self._client.watch(
            scheme.PODS, self._selection, resource_version=listed.resource_version
        ):
            now = self._clock.monotonic()
            for event in events:
                name = event.object.metadata.name
                if event.type is EventType.DELETED:
                    self._gone.add(name)
                elif event.object.status.phase == "Running":
                    self.seen.setdefault(name, now)
            async with self._changed:
                self._changed.notify_all()

    async def running(self, name: str) -> None:
        await self._until(lambda: name in self.seen)

    async def all_gone(self, names: list[str]) -> None:
        await self._until(lambda: self._gone.issuperset(names))

    async def _until(self, done: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(done)
