"""CreateContainer."""

import posixpath

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import Code, CriError, invalid, precondition
from runtime_shim.runtime import EVENT_CREATED, Runtime, stop_quietly
from runtime_shim.state import NOTREADY, ContainerRecord, SandboxRecord, container_name
from runtime_shim.unhonoured import check


async def create_container(
    runtime: Runtime, request: cri.CreateContainerRequest
) -> cri.CreateContainerResponse:
    """1. Claim the name. 2. Find the image. 3. The engine prepares it. 4. Record it.

    Raises: CriError INVALID_ARGUMENT, NOT_FOUND (sandbox, image), FAILED_PRECONDITION (sandbox
    not ready), ALREADY_EXISTS, or the engine's.
    """
    sandbox = runtime.state.sandbox(request.pod_sandbox_id)
    config = request.config
    check(config, "config", runtime.warnings)
    _check(sandbox, config)
    backend = runtime.backend(sandbox.handler)
    name = container_name(sandbox.id, config)
    runtime.state.reserve(name)  # 1
    try:
        image = await backend.image(config.image.image)  # 2
        if image is None:
            where = f" in runtime handler {sandbox.handler!r}" if sandbox.handler else ""
            raise CriError(Code.NOT_FOUND, f"image {config.image.image!r} is not present{where}")
        log_path = _log_path(sandbox.config, config)
        created = await backend.create_container(sandbox, config, image, log_path)  # 3
    except BaseException:
        runtime.state.release(name)
        raise
    record = ContainerRecord(  # 4
        id=created.id,
        sandbox_id=sandbox.id,
        config=config,
        handler=sandbox.handler,
        image_id=image.id,
        image_ref=image.repo_digests[0] if image.repo_digests else image.id,
        log_path=log_path,
        created_at=runtime.now_ns(),
        engine=created.engine,
    )
    if sandbox.id not in runtime.state.sandboxes or sandbox.stopped_at:
        runtime.state.release(name)
        await stop_quietly(backend.remove_container(record), "container of a stopped sandbox")
        raise precondition(f"sandbox {sandbox.id!r} was stopped meanwhile")
    runtime.state.add_container(record)
    runtime.save(record)
    runtime.container_event(record, EVENT_CREATED)
    return cri.CreateContainerResponse(container_id=record.id)


def _check(sandbox: SandboxRecord, config: cri.ContainerConfig) -> None:
    if not config.metadata.name:
        raise invalid("config.metadata.name: a container needs one")
    if not config.image.image:
        raise invalid("config.image.image: a container needs one")
    if sandbox.state == NOTREADY or sandbox.removing:
        raise precondition(f"sandbox {sandbox.id!r} is not ready")
    for mount in config.mounts:
        if not posixpath.isabs(mount.container_path):
            raise invalid(f"config.mounts: {mount.container_path!r} is not an absolute path")
        if not mount.HasField("image") and not posixpath.isabs(mount.host_path):
            raise invalid(f"config.mounts: {mount.host_path!r} is not an absolute path")
    for device in config.devices:
        if not posixpath.isabs(device.host_path):
            raise invalid(f"config.devices: {device.host_path!r} is not an absolute path")
    if ".." in config.log_path.split("/"):
        raise invalid(f"config.log_path: {config.log_path!r} leaves the log directory")


def _log_path(sandbox: cri.PodSandboxConfig, config: cri.ContainerConfig) -> str:
    """The absolute path, or "" if the caller wants no log."""
    if not sandbox.log_directory or not config.log_path:
        return ""
    return posixpath.join(sandbox.log_directory, config.log_path)
