"""The frame of every controller: informers put keys into a queue, workers reconcile them.

A controller is a class that takes a `Context`, registers its informers' handlers in its
constructor and has `async def run()`. Most of them delegate `run()` to a `Loop`:

    handlers ──key──> WorkQueue ──> reconcile(key) ──> None: done
                          ^                        ├─> Requeue: again, later
                          └──back-off── exception ─┘   TerminalError: logged and dropped

Handlers only name keys; `reconcile` reads the present state anew (level, not edge).

Source: k8s.io/kubernetes pkg/controller (the controllers' worker loops),
cmd/kube-controller-manager/app/controller_context.go.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from controllers.node_zones import EvictionRates
from podpath.api.errors import ApiError
from podpath.client.event_recorder import EventRecorder
from podpath.client.informer import Informer, InformerFactory
from podpath.client.interface import Client
from podpath.client.workqueue import KeyT, WorkQueue
from podpath.component_base.certificates import KeyPair
from podpath.component_base.clock import Clock

log = logging.getLogger(__name__)

WORKERS = 5


class TerminalError(Exception):
    """A failure that trying again cannot mend."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Look at the key again after this time, though nothing failed."""

    after_s: float


Reconcile = Callable[[KeyT], Awaitable[Requeue | None]]


class Controller(Protocol):
    """What the manager starts."""

    async def run(self) -> None:
        """Works until cancelled. The informers it asked for are running."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the flags say to single controllers; units in the names, meanings in config.py."""

    root_ca: bytes = b""
    terminated_pod_gc_threshold: int = 12500
    node_monitor_period_s: float = 5.0
    node_monitor_grace_period_s: float = 50.0
    node_startup_grace_period_s: float = 60.0
    eviction_rates: EvictionRates = field(default_factory=EvictionRates)
    signing_authority: KeyPair | None = None
    signing_duration_s: float = 365 * 86400.0
    cluster_cidr: str = ""
    node_cidr_mask_size: int = 24


@dataclass(frozen=True, slots=True)
class Context:
    """What controllers share: one client, one set of informers, one notion of time and chance."""

    client: Client
    informers: InformerFactory
    clock: Clock
    rng: random.Random
    settings: Settings = field(default_factory=Settings)
    recorders: list[EventRecorder] = field(default_factory=list)

    def recorder(self, component: str) -> EventRecorder:
        """Events of that component; the manager sends them."""
        recorder = EventRecorder(self.client, component, clock=self.clock)
        self.recorders.append(recorder)
        return recorder


class Loop(Generic[KeyT]):
    """Workers on one queue. `reconcile` is never called twice at once for one key."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile[KeyT],
        *,
        clock: Clock,
        wait_for: Sequence[Informer[Any]] = (),
        workers: int = WORKERS,
    ) -> None:
        """Work starts once every informer of `wait_for` has synced."""
        self.queue: WorkQueue[KeyT] = WorkQueue(clock)
        self._name = name
        self._reconcile = reconcile
        self._wait_for = wait_for
        self._workers = workers

    async def run(self) -> None:
        for informer in self._wait_for:
            await informer.wait_synced()
        log.info("controller started", extra={"controller": self._name})
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.queue.run(), name=f"{self._name}-queue")
            for number in range(self._workers):
                tasks.create_task(self._work(), name=f"{self._name}-{number}")

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._process(key)
            finally:
                self.queue.done(key)

    async def _process(self, key: KeyT) -> None:
        fields = {"controller": self._name, "key": str(key)}
        try:
            requeue = await self._reconcile(key)
        except TerminalError as error:
            log.error("given up", extra=fields | {"error": str(error)})
            self.queue.forget(key)
        except ApiError as error:
            # A lost race is daily business; the next try reads the newer state.
            level = logging.DEBUG if error.reason in ("Conflict", "NotFound") else logging.WARNING
            log.log(level, "reconcile failed", extra=fields | {"error": str(error)})
            self.queue.add_rate_limited(key)
        except Exception:
            log.exception("reconcile failed", extra=fields)
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)
            if requeue is not None:
                self.queue.add_after(key, requeue.after_s)
