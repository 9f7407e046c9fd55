"""Writes Pod statuses to the API server: at once when there is one, in batches under a backlog.

Shared by all simulated nodes of a process. Each Pod has at most one write under way, and of what
waits only the newest counts.

Source: pkg/kubelet/status/status_manager.go (syncPod); the batching is podpath's own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podpath.api.errors import ApiError
from podpath.api.scheme import PODS
from podpath.client.interface import Client
from protos.k8s import core_v1_pb2 as core

BATCH_MAX = 256
CONCURRENT_BATCHES = 4


@dataclass(slots=True)
class StatusJob:
    """A write that is due. `build` makes the object at the last moment, None to write nothing;
    `done` gets what was stored, or the error: whether to try again is its owner's to say."""

    uid: str
    build: Callable[[], core.Pod | None]
    done: Callable[[core.Pod | ApiError], None]


class StatusWriter:
    """The queue of status writes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[str, StatusJob] = {}
        self._under_way: set[str] = set()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(CONCURRENT_BATCHES)
        self.calls = 0
        self.writes = 0

    def submit(self, job: StatusJob) -> None:
        """Queues a write; it replaces one of the same Pod that still waits."""
        self._waiting[job.uid] = job
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                await self._slots.acquire()
                # All that became due in this turn of the loop goes together.
                await asyncio.sleep(0)
                batch = self._take()
                if not batch:
                    self._wake.clear()
                    self._slots.release()
                    continue
                tasks.create_task(self._write(batch), name="status-batch")

    def _take(self) -> list[StatusJob]:
        chosen = [uid for uid in self._waiting if uid not in self._under_way][:BATCH_MAX]
        self._under_way.update(chosen)
        return [self._waiting.pop(uid) for uid in chosen]

    async def _write(self, batch: list[StatusJob]) -> None:
        try:
            built = [(job, pod) for job in batch if (pod := job.build()) is not None]
            if built:
                await self._send(built)
        finally:
            self._under_way.difference_update(job.uid for job in batch)
            self._slots.release()
            self._wake.set()

    async def _send(self, built: list[tuple[StatusJob, core.Pod]]) -> None:
        self.calls += 1
        self.writes += len(built)
        results: Sequence[core.Pod | ApiError]
        try:
            if len(built) == 1:
                results = [await self._client.update_status(PODS, built[0][1])]
            else:
                results = await self._client.update_status_many(PODS, [pod for _, pod in built])
        except ApiError as error:
            results = [error] * len(built)
        for (job, _), result in zip(built, results, strict=True):
            job.done(result)
