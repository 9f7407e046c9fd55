"""ImageStatus."""

import orjson

from protos.cri import runtime_v1_pb2 as cri
from runtime_shim.errors import invalid
from runtime_shim.runtime import Runtime


async def image_status(
    runtime: Runtime, request: cri.ImageStatusRequest
) -> cri.ImageStatusResponse:
    """An image that is not there is an empty response, not an error."""
    if not request.image.image:
        raise invalid("image.image: a reference is needed")
    image = await runtime.backend(request.image.runtime_handler).image(request.image.image)
    if image is None:
        return cri.ImageStatusResponse()
    response = cri.ImageStatusResponse(image=image)
    if request.verbose:
        response.info["info"] = orjson.dumps({"id": image.id}).decode()
    return response
