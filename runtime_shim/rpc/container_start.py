"""StartContainer."""

from podpath.component_base.pod_trace import NO_CONTEXT, PodStep, stamp
from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError, precondition
from runtime_shim.runtime import EVENT_STARTED, EVENT_STOPPED, Runtime
from runtime_shim.state import CREATED, NOTREADY, START_FAILED_EXIT_CODE, ContainerRecord


async def start_container(
    runtime: Runtime, request: cri.StartContainerRequest
) -> cri.StartContainerResponse:
    """Runs a created container. One that cannot start is EXITED with code 128, StartError.

    Raises: CriError NOT_FOUND, FAILED_PRECONDITION (not in state CREATED), or the engine's.
    """
    record = runtime.state.container(request.container_id)
    sandbox = runtime.state.sandbox(record.sandbox_id)
    if record.state != CREATED or record.starting or record.removing:
        state = cri.ContainerState.Name(record.state)
        raise precondition(f"container {record.id!r} is in state {state}, not CONTAINER_CREATED")
    if sandbox.state == NOTREADY:
        raise precondition(f"sandbox {sandbox.id!r} is not ready")
    record.starting = True
    try:
        started_at = await runtime.backend(record.handler).start_container(sandbox, record)
    except CriError as error:
        _failed(runtime, record, error)
        raise
    finally:
        record.starting = False
    if not record.started_at:
        record.started_at = started_at
    runtime.save(record)
    container, pod = record.config.metadata, sandbox.config
    # A container that starts again is no part of the Pod's creation, which is what is traced.
    annotations = NO_CONTEXT if container.attempt else pod.annotations
    stamp(PodStep.CONTAINER_STARTED, pod.metadata.uid, container.name, annotations)
    runtime.container_event(record, EVENT_STARTED)
    return cri.StartContainerResponse()


def _failed(runtime: Runtime, record: ContainerRecord, error: CriError) -> None:
    if error.code is Code.UNAVAILABLE or record.finished_at:
        return  # it may be tried again, or its end is known already
    now = runtime.now_ns()
    record.started_at = record.started_at or now
    record.finish(now, START_FAILED_EXIT_CODE, "StartError", error.message)
    runtime.save(record)
    runtime.container_event(record, EVENT_STOPPED)
