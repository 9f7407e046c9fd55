"""ReopenContainerLog."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import precondition
from runtime_shim.runtime import Runtime
from runtime_shim.state import RUNNING


async def reopen_container_log(
    runtime: Runtime, request: cri.ReopenContainerLogRequest
) -> cri.ReopenContainerLogResponse:
    """After the caller renamed the log. Raises: CriError; then no new file was made."""
    record = runtime.state.container(request.container_id)
    if record.state != RUNNING:
        raise precondition(f"container {record.id!r} is not running")
    if record.log_path:
        await runtime.backend(record.handler).reopen_log(record)
    return cri.ReopenContainerLogResponse()
