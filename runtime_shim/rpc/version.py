"""Version, Status, RuntimeConfig and UpdateRuntimeConfig: what the kubelet asks at its start."""

import ipaddress

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import invalid
from runtime_shim.runtime import Runtime

KUBELET_API_VERSION = "0.1.0"
"""The kubelet compares it with its own constant."""
POD_CIDR_NOTE = "pod-cidr"


async def version(runtime: Runtime, _: cri.VersionRequest) -> cri.VersionResponse:
    info = await runtime.backend("").info()
    return cri.VersionResponse(
        version=KUBELET_API_VERSION,
        runtime_name=info.name,
        runtime_version=info.version,
        runtime_api_version="v1",
    )


async def status(runtime: Runtime, request: cri.StatusRequest) -> cri.StatusResponse:
    """RuntimeReady and NetworkReady; a node without both is NotReady."""
    info = await runtime.backend("").info()
    response = cri.StatusResponse()
    for kind, problem in (
        ("RuntimeReady", info.runtime_problem),
        ("NetworkReady", info.network_problem),
    ):
        response.status.conditions.add(
            type=kind,
            status=not problem,
            reason=f"{kind.removesuffix('Ready')}NotReady" if problem else "",
            message=problem,
        )
    for handler in sorted(runtime.backends):
        offered = await runtime.backend(handler).info() if handler else info
        response.runtime_handlers.add(
            name=handler
        ).features.recursive_read_only_mounts = offered.recursive_read_only_mounts
    response.features.supplemental_groups_policy = info.supplemental_groups_policy
    if request.verbose:
        response.info["backend"] = info.name
    return response


async def runtime_config(_: Runtime, __: cri.RuntimeConfigRequest) -> cri.RuntimeConfigResponse:
    response = cri.RuntimeConfigResponse()
    response.linux.cgroup_driver = cri.CGROUPFS
    return response


async def update_runtime_config(
    runtime: Runtime, request: cri.UpdateRuntimeConfigRequest
) -> cri.UpdateRuntimeConfigResponse:
    """Takes the node's Pod CIDR; for two families the first one counts. Kept over restarts."""
    cidr = request.runtime_config.network_config.pod_cidr
    if not cidr:
        return cri.UpdateRuntimeConfigResponse()
    first = cidr.split(",")[0].strip()
    try:
        ipaddress.ip_network(first, strict=False)
    except ValueError as error:
        raise invalid(f"pod_cidr: {error}") from None
    for backend in set(runtime.backends.values()):
        await backend.set_pod_cidr(first)
    runtime.checkpoints.note(POD_CIDR_NOTE, first)
    return cri.UpdateRuntimeConfigResponse()
