"""PodSandboxStatus."""

import orjson

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.runtime import Runtime, sandbox_status


async def pod_sandbox_status(
    runtime: Runtime, request: cri.PodSandboxStatusRequest
) -> cri.PodSandboxStatusResponse:
    """From memory. `verbose` adds the engine's notes under "info". Raises: CriError NOT_FOUND."""
    record = runtime.state.sandbox(request.pod_sandbox_id)
    response = cri.PodSandboxStatusResponse(
        status=sandbox_status(record),
        containers_statuses=runtime.statuses_of(record.id),
        timestamp=runtime.now_ns(),
    )
    if request.verbose:
        response.info["info"] = orjson.dumps({"engine": record.engine}).decode()
    return response
