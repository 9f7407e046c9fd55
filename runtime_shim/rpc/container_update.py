"""UpdateContainerResources and UpdatePodSandboxResources."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import precondition, unimplemented
from runtime_shim.runtime import Runtime
from runtime_shim.state import CREATED, RUNNING
from runtime_shim.unhonoured import check


async def update_container_resources(
    runtime: Runtime, request: cri.UpdateContainerResourcesRequest
) -> cri.UpdateContainerResourcesResponse:
    """Changes limits of a created or running container; what is 0 or absent stays as it was."""
    record = runtime.state.container(request.container_id)
    check(request, "request", runtime.warnings)
    if request.annotations:
        why = "no backend has settings of its own for resources"
        runtime.warnings.ignored({"UpdateContainerResources.annotations": why})
    if request.HasField("windows"):
        raise unimplemented("windows resources: this runtime runs Linux containers")
    if record.state not in (CREATED, RUNNING) or record.removing:
        state = cri.ContainerState.Name(record.state)
        raise precondition(f"container {record.id!r} is in state {state}")
    await runtime.backend(record.handler).update_resources(record, request.linux)
    config = cri.ContainerConfig()
    config.CopyFrom(record.config)
    config.linux.resources.MergeFrom(request.linux)
    record.config = config
    runtime.save(record)
    return cri.UpdateContainerResourcesResponse()


async def update_pod_sandbox_resources(
    _: Runtime, __: cri.UpdatePodSandboxResourcesRequest
) -> cri.UpdatePodSandboxResourcesResponse:
    """Raises: CriError UNIMPLEMENTED."""
    raise unimplemented("UpdatePodSandboxResources: the Pod's own cgroup belongs to the kubelet")
