"""ListImages."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.runtime import Runtime


async def list_images(runtime: Runtime, request: cri.ListImagesRequest) -> cri.ListImagesResponse:
    """All images, or the one that the filter names."""
    backend = runtime.backend("")
    if wanted := request.filter.image.image:
        image = await backend.image(wanted)
        return cri.ListImagesResponse(images=[image] if image else [])
    return cri.ListImagesResponse(images=await backend.images())
