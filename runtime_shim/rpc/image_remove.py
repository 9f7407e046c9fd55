"""RemoveImage."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import invalid
from runtime_shim.runtime import Runtime


async def remove_image(
    runtime: Runtime, request: cri.RemoveImageRequest
) -> cri.RemoveImageResponse:
    """Removes an image with all its names. Idempotent."""
    if not request.image.image:
        raise invalid("image.image: a reference is needed")
    backend = runtime.backend(request.image.runtime_handler)
    image = await backend.image(request.image.image)
    if image is not None:
        await backend.remove_image(image)
    return cri.RemoveImageResponse()
