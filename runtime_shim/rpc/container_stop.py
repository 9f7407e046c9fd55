"""StopContainer."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError, invalid
from runtime_shim.runtime import Runtime
from runtime_shim.state import RUNNING, UNKNOWN


async def stop_container(
    runtime: Runtime, request: cri.StopContainerRequest
) -> cri.StopContainerResponse:
    """Stop signal, `timeout` seconds of grace, kill. Idempotent; unknown containers are stopped.

    A second call during the grace period is heard: the shorter of the two decides.
    """
    if request.timeout < 0:
        raise invalid(f"timeout: {request.timeout} is negative")
    try:
        record = runtime.state.container(request.container_id)
    except CriError as error:
        if error.code is Code.NOT_FOUND and request.container_id:
            return cri.StopContainerResponse()
        raise
    if record.state in (RUNNING, UNKNOWN):
        await runtime.backend(record.handler).stop_container(record, float(request.timeout))
    return cri.StopContainerResponse()
