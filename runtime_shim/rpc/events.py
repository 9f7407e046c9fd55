"""GetContainerEvents."""

from collections.abc import AsyncIterator

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.runtime import Runtime


def get_container_events(
    runtime: Runtime, _: cri.GetEventsRequest
) -> AsyncIterator[cri.ContainerEventResponse]:
    """Created, started, stopped and deleted, of containers and sandboxes, as they happen.

    Not promised: events from before the call; whoever subscribes lists afterwards.
    Raises: CriError RESOURCE_EXHAUSTED if they are not taken fast enough.
    """
    return runtime.events.subscribe()
