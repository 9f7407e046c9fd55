"""StopPodSandbox."""

import asyncio

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError
from runtime_shim.runtime import EVENT_STOPPED, Runtime
from runtime_shim.state import RUNNING, UNKNOWN, SandboxRecord


async def stop_pod_sandbox(
    runtime: Runtime, request: cri.StopPodSandboxRequest
) -> cri.StopPodSandboxResponse:
    """Kills its containers, then frees its network. Idempotent; unknown sandboxes are stopped."""
    try:
        record = runtime.state.sandbox(request.pod_sandbox_id)
    except CriError as error:
        if error.code is Code.NOT_FOUND and request.pod_sandbox_id:
            return cri.StopPodSandboxResponse()
        raise
    await stop_sandbox(runtime, record)
    return cri.StopPodSandboxResponse()


async def stop_sandbox(runtime: Runtime, record: SandboxRecord) -> None:
    backend = runtime.backend(record.handler)
    alive = [c for c in runtime.state.containers_of(record.id) if c.state in (RUNNING, UNKNOWN)]
    if alive:
        async with asyncio.TaskGroup() as kills:
            for container in alive:
                kills.create_task(backend.stop_container(container, 0))
    await backend.stop_sandbox(record)
    if not record.stopped_at:
        record.stopped_at = runtime.now_ns()
        runtime.save(record)
        runtime.sandbox_event(record, EVENT_STOPPED)
