"""`--teardown`: a node goes for good. Removes its Pods and whatever of the machine it changed."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backend import Backend
from runtime_shim.errors import CriError
from runtime_shim.shim import RuntimeShim

log = logging.getLogger(__name__)

AT_ONCE = 4


@runtime_checkable
class NodeRemover(Protocol):
    """Optional: a backend that leaves more behind than its Pods."""

    async def remove_node(self) -> None:
        """Undoes what was set up for the node as a whole. Called when it has no Pods left."""


async def teardown(shim: RuntimeShim, backends: Iterable[Backend]) -> None:
    """Removes every sandbox with its containers, then what is the node's own.

    Raises: CriError for the first Pod that could not be removed, after trying all of them.
    """
    listed = await shim.list_pod_sandbox(cri.ListPodSandboxRequest())
    gate = asyncio.Semaphore(AT_ONCE)

    async def remove(sandbox_id: str) -> None:
        async with gate:
            await shim.stop_pod_sandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))
            await shim.remove_pod_sandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))

    ended = await asyncio.gather(*(remove(s.id) for s in listed.items), return_exceptions=True)
    for error in ended:
        if isinstance(error, CriError):
            raise error
    for backend in backends:
        if isinstance(backend, NodeRemover):
            await backend.remove_node()
    log.info("node removed", extra={"pods": len(listed.items)})
