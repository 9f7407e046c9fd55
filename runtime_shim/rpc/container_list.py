"""ListContainers."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.runtime import Runtime


async def list_containers(
    runtime: Runtime, request: cri.ListContainersRequest
) -> cri.ListContainersResponse:
    """From memory; the kubelet calls it every second."""
    found = runtime.state.select_containers(request.filter)
    return cri.ListContainersResponse(containers=[record.listed() for record in found])
