"""Reading a request's body, up to Kubernetes' limit.

Source: k8s.io/apiserver pkg/server/config.go (MaxRequestBodyBytes),
pkg/endpoints/handlers/rest.go (limitedReadBody).
"""

from aiohttp import web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.web_exceptions import HTTPException

from podpath.api import errors

BODY_BYTES_MAX = 3 * 1024 * 1024


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body. Raises: ApiError (RequestEntityTooLarge, BadRequest)."""
    if not request.body_exists:
        return b""
    length = request.content_length
    if length is not None and length > BODY_BYTES_MAX:
        raise errors.too_large(f"limit is {BODY_BYTES_MAX}")
    content = request.content
    try:
        body = await content.readany()
        if content.at_eof() and len(body) <= BODY_BYTES_MAX:
            return body
        parts = [body]
        size = len(body)
        while not content.at_eof():
            part = await content.readany()
            size += len(part)
            if size > BODY_BYTES_MAX:
                raise errors.too_large(f"limit is {BODY_BYTES_MAX}")
            parts.append(part)
    except (ClientPayloadError, HTTPException, ValueError) as error:
        raise errors.bad_request(f"the body cannot be read: {error}") from None
    if size > BODY_BYTES_MAX:
        raise errors.too_large(f"limit is {BODY_BYTES_MAX}")
    return b"".join(parts)
