"""ListPodSandbox."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.runtime import Runtime


async def list_pod_sandbox(
    runtime: Runtime, request: cri.ListPodSandboxRequest
) -> cri.ListPodSandboxResponse:
    """From memory; the kubelet calls it every second."""
    found = runtime.state.select_sandboxes(request.filter)
    return cri.ListPodSandboxResponse(items=[record.listed() for record in found])
