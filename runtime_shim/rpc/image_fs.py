"""ImageFsInfo."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.runtime import Runtime


async def image_fs_info(runtime: Runtime, _: cri.ImageFsInfoRequest) -> cri.ImageFsInfoResponse:
    return await runtime.backend("").image_fs()
