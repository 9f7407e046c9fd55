"""ContainerStatus."""

import orjson

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.runtime import Runtime, container_status


async def get_container_status(
    runtime: Runtime, request: cri.ContainerStatusRequest
) -> cri.ContainerStatusResponse:
    """From memory. `verbose` adds the engine's notes under "info". Raises: CriError NOT_FOUND."""
    record = runtime.state.container(request.container_id)
    response = cri.ContainerStatusResponse(status=container_status(record))
    if request.verbose:
        info: dict[str, object] = {"sandboxID": record.sandbox_id, "engine": record.engine}
        if pid := record.engine.get("pid"):
            info["pid"] = int(pid)
        response.info["info"] = orjson.dumps(info).decode()
    return response
