"""GetContainerEvents: one publisher, any number of subscribers, none of which can slow it down."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError

_log = logging.getLogger(__name__)

QUEUE_LIMIT = 4096
"""A subscriber that falls this far behind is cut off: its safety net is to list again."""


class EventHub:
    """Hands each event to every subscriber. An event is only built when somebody listens."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[cri.ContainerEventResponse | None]] = set()

    def publish(self, build: Callable[[], cri.ContainerEventResponse]) -> None:
        if not self._queues:
            return
        event = build()
        for queue in list(self._queues):
            if queue.qsize() >= QUEUE_LIMIT:
                self._queues.discard(queue)
                queue.put_nowait(None)
                _log.warning("a slow subscriber of container events was cut off")
            else:
                queue.put_nowait(event)

    async def subscribe(self) -> AsyncIterator[cri.ContainerEventResponse]:
        """Events from the moment of the first `anext` on.

        Raises: CriError RESOURCE_EXHAUSTED after QUEUE_LIMIT events were not taken.
        """
        queue: asyncio.Queue[cri.ContainerEventResponse | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.discard(queue)
        raise CriError(Code.RESOURCE_EXHAUSTED, "container events were not taken fast enough")
