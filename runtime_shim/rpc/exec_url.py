"""Exec, Attach and PortForward: each answers a URL of the streaming server, good for one use."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.backend import RemoteStreams
from runtime_shim.errors import invalid, precondition, unimplemented
from runtime_shim.rpc.exec_sync import running_container
from runtime_shim.runtime import Runtime, StreamUrls
from runtime_shim.state import READY
from runtime_shim.unhonoured import check


async def get_exec(runtime: Runtime, request: cri.ExecRequest) -> cri.ExecResponse:
    """Raises: CriError INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION (does not run)."""
    check(request, "request", runtime.warnings)
    if not request.cmd:
        raise invalid("cmd: a command is needed")
    _check_streams(request)
    record = running_container(runtime, request.container_id)
    backend = runtime.backend(record.handler)
    if isinstance(backend, RemoteStreams):
        return cri.ExecResponse(url=await backend.exec_url(request))
    return cri.ExecResponse(url=_streams(runtime).exec_url(request))


async def get_attach(runtime: Runtime, request: cri.AttachRequest) -> cri.AttachResponse:
    """Raises: CriError INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION (does not run)."""
    _check_streams(request)
    record = running_container(runtime, request.container_id)
    backend = runtime.backend(record.handler)
    if isinstance(backend, RemoteStreams):
        return cri.AttachResponse(url=await backend.attach_url(request))
    return cri.AttachResponse(url=_streams(runtime).attach_url(request))


async def get_port_forward(
    runtime: Runtime, request: cri.PortForwardRequest
) -> cri.PortForwardResponse:
    """Raises: CriError NOT_FOUND, FAILED_PRECONDITION (sandbox not ready), INVALID_ARGUMENT."""
    if any(not 0 < port <= 65535 for port in request.port):
        raise invalid(f"port: {list(request.port)} has a number outside 1-65535")
    sandbox = runtime.state.sandbox(request.pod_sandbox_id)
    if sandbox.state != READY:
        raise precondition(f"sandbox {sandbox.id!r} is not ready")
    backend = runtime.backend(sandbox.handler)
    if isinstance(backend, RemoteStreams):
        return cri.PortForwardResponse(url=await backend.port_forward_url(request))
    return cri.PortForwardResponse(url=_streams(runtime).port_forward_url(request))


def _check_streams(request: cri.ExecRequest | cri.AttachRequest) -> None:
    if request.tty and request.stderr:
        raise invalid("tty and stderr cannot both be set: a terminal has one output")
    if not (request.stdin or request.stdout or request.stderr):
        raise invalid("one of stdin, stdout and stderr must be set")


def _streams(runtime: Runtime) -> StreamUrls:
    if runtime.streams is None:
        raise unimplemented("this shim was started without a streaming server")
    return runtime.streams
