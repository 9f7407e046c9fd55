"""RunPodSandbox."""

import ipaddress

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import invalid
from runtime_shim.runtime import EVENT_CREATED, EVENT_STARTED, Runtime
from runtime_shim.state import SandboxRecord, sandbox_name
from runtime_shim.unhonoured import check


async def run_pod_sandbox(
    runtime: Runtime, request: cri.RunPodSandboxRequest
) -> cri.RunPodSandboxResponse:
    """1. Claim the name. 2. The engine makes and starts it. 3. Record it.

    Raises: CriError INVALID_ARGUMENT, ALREADY_EXISTS (same name, namespace, uid and attempt),
    NOT_FOUND (unknown runtime handler), or the engine's.
    """
    config = request.config
    check(config, "config", runtime.warnings)
    _check(config)
    backend = runtime.backend(request.runtime_handler)
    name = sandbox_name(config)
    runtime.state.reserve(name)  # 1
    try:
        started = await backend.run_sandbox(config, request.runtime_handler)  # 2
    except BaseException:
        runtime.state.release(name)
        raise
    record = SandboxRecord(  # 3
        id=started.id,
        config=config,
        handler=request.runtime_handler,
        created_at=runtime.now_ns(),
        ips=started.ips,
        engine=started.engine,
    )
    runtime.state.add_sandbox(record)
    runtime.save(record)
    runtime.sandbox_event(record, EVENT_CREATED)
    runtime.sandbox_event(record, EVENT_STARTED)
    return cri.RunPodSandboxResponse(pod_sandbox_id=record.id)


def _check(config: cri.PodSandboxConfig) -> None:
    metadata = config.metadata
    for field, value in (
        ("name", metadata.name),
        ("namespace", metadata.namespace),
        ("uid", metadata.uid),
    ):
        if not value:
            raise invalid(f"config.metadata.{field}: a sandbox needs one")
    for mapping in config.port_mappings:
        if not 0 <= mapping.container_port <= 65535 or not 0 <= mapping.host_port <= 65535:
            raise invalid(f"config.port_mappings: no such port in {mapping.container_port}")
        if mapping.host_ip and not _is_address(mapping.host_ip):
            raise invalid(f"config.port_mappings: {mapping.host_ip!r} is not an IP address")
    if ".." in config.linux.cgroup_parent.split("/"):
        raise invalid(f"config.linux.cgroup_parent: {config.linux.cgroup_parent!r} climbs up")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
