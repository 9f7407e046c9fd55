"""RemovePodSandbox."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError
from runtime_shim.rpc.container_remove import remove_record
from runtime_shim.rpc.sandbox_stop import stop_sandbox
from runtime_shim.runtime import EVENT_DELETED, Runtime


async def remove_pod_sandbox(
    runtime: Runtime, request: cri.RemovePodSandboxRequest
) -> cri.RemovePodSandboxResponse:
    """Stops it if need be, removes its containers, then it. Idempotent; unknown ones are gone."""
    try:
        record = runtime.state.sandbox(request.pod_sandbox_id)
    except CriError as error:
        if error.code is Code.NOT_FOUND and request.pod_sandbox_id:
            return cri.RemovePodSandboxResponse()
        raise
    if record.removing:
        raise CriError(Code.UNAVAILABLE, f"sandbox {record.id!r} is being removed already")
    record.removing = True
    try:
        await stop_sandbox(runtime, record)
        for container in runtime.state.containers_of(record.id):
            await remove_record(runtime, container)
        await runtime.backend(record.handler).remove_sandbox(record)
    finally:
        record.removing = False
    runtime.state.drop_sandbox(record)
    runtime.checkpoints.delete(record.id)
    runtime.sandbox_event(record, EVENT_DELETED)
    return cri.RemovePodSandboxResponse()
