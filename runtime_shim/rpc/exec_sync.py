"""ExecSync."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import invalid, precondition
from runtime_shim.runtime import Runtime
from runtime_shim.state import RUNNING, ContainerRecord
from runtime_shim.unhonoured import check


async def exec_sync(runtime: Runtime, request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
    """Runs a command to its end. Its exit code is data.

    Raises: CriError DEADLINE_EXCEEDED after `timeout` s (0: none), when the command was killed.
    """
    check(request, "request", runtime.warnings)
    if not request.cmd:
        raise invalid("cmd: a command is needed")
    if request.timeout < 0:
        raise invalid(f"timeout: {request.timeout} is negative")
    record = running_container(runtime, request.container_id)
    result = await runtime.backend(record.handler).exec_sync(
        record, list(request.cmd), float(request.timeout)
    )
    return cri.ExecSyncResponse(
        stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code
    )


def running_container(runtime: Runtime, given: str) -> ContainerRecord:
    """Raises: CriError NOT_FOUND, FAILED_PRECONDITION."""
    record = runtime.state.container(given)
    if record.state != RUNNING:
        state = cri.ContainerState.Name(record.state)
        raise precondition(f"container {record.id!r} is in state {state}, not CONTAINER_RUNNING")
    return record
