"""RemoveContainer."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError
from runtime_shim.runtime import EVENT_DELETED, Runtime
from runtime_shim.state import RUNNING, UNKNOWN, ContainerRecord


async def remove_container(
    runtime: Runtime, request: cri.RemoveContainerRequest
) -> cri.RemoveContainerResponse:
    """Kills it if it runs, then removes it. Idempotent; unknown containers are gone."""
    try:
        record = runtime.state.container(request.container_id)
    except CriError as error:
        if error.code is Code.NOT_FOUND and request.container_id:
            return cri.RemoveContainerResponse()
        raise
    await remove_record(runtime, record)
    return cri.RemoveContainerResponse()


async def remove_record(runtime: Runtime, record: ContainerRecord) -> None:
    """Raises: CriError UNAVAILABLE while another call starts or removes it: try again."""
    if record.starting or record.removing:
        doing = "started" if record.starting else "removed"
        raise CriError(Code.UNAVAILABLE, f"container {record.id!r} is being {doing}")
    record.removing = True
    backend = runtime.backend(record.handler)
    try:
        if record.state in (RUNNING, UNKNOWN):
            await backend.stop_container(record, 0)
        await backend.remove_container(record)
    finally:
        record.removing = False
    runtime.state.drop_container(record)
    runtime.checkpoints.delete(record.id)
    runtime.container_event(record, EVENT_DELETED)
