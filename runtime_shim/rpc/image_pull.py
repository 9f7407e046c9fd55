"""PullImage."""

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import invalid
from runtime_shim.runtime import Runtime


async def pull_image(runtime: Runtime, request: cri.PullImageRequest) -> cri.PullImageResponse:
    """Raises: CriError NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, with the registry's reason."""
    if not request.image.image:
        raise invalid("image.image: a reference is needed")
    backend = runtime.backend(request.image.runtime_handler)
    ref = await backend.pull_image(request.image, request.auth, request.sandbox_config)
    return cri.PullImageResponse(image_ref=ref)
