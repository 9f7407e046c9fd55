"""CheckpointContainer."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import unimplemented
from runtime_shim.runtime import Runtime


async def checkpoint_container(
    _: Runtime, __: cri.CheckpointContainerRequest
) -> cri.CheckpointContainerResponse:
    """Raises: CriError UNIMPLEMENTED."""
    raise unimplemented("CheckpointContainer: nerdctl writes CRIU images, not CRI's archive")
