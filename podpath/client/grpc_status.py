"""Kubernetes' Status in gRPC errors: google.rpc.Status details, written by the server, read here.

A client sees the same ApiError through either door.
"""

from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import status_pb2  # type: ignore[import-untyped]

from podpath.api import errors
from podpath.api.errors import REASONS, ApiError
from protos.k8s.meta_v1_pb2 import Status

DETAILS_KEY = "grpc-status-details-bin"
_TYPE_URL = "type.googleapis.com/k8s.io.apimachinery.pkg.apis.meta.v1.Status"

# gRPC refuses metadata over 8 KiB: the Status and the message share it with other headers.
_DETAILS_BYTES_MAX = 4096
_MESSAGE_CHARACTERS_MAX = 1024

_REASON_OF_CODE = {
    grpc.StatusCode.UNAVAILABLE: "ServiceUnavailable",
    grpc.StatusCode.DEADLINE_EXCEEDED: "Timeout",
    grpc.StatusCode.UNAUTHENTICATED: "Unauthorized",
    grpc.StatusCode.PERMISSION_DENIED: "Forbidden",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "RequestEntityTooLarge",
    grpc.StatusCode.INVALID_ARGUMENT: "BadRequest",
    grpc.StatusCode.UNIMPLEMENTED: "MethodNotAllowed",
    grpc.StatusCode.CANCELLED: "ServiceUnavailable",
}


def encode(error: ApiError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes]]]:
    """Code, message and trailing metadata of a failed call."""
    status = _fitting(error.status)
    code_name = REASONS.get(error.reason, (500, "INTERNAL"))[1]
    code = grpc.StatusCode[code_name]
    message = status.message[:_MESSAGE_CHARACTERS_MAX]
    details = status_pb2.Status(code=code.value[0], message=message)
    packed = details.details.add()
    packed.type_url = _TYPE_URL
    packed.value = status.SerializeToString()
    return code, message, ((DETAILS_KEY, details.SerializeToString()),)


def _fitting(status: Status) -> Status:
    """The Status, without what would not fit into a header."""
    if status.ByteSize() <= _DETAILS_BYTES_MAX:
        return status
    short = Status()
    short.CopyFrom(status)
    short.details.ClearField("causes")
    short.message = short.message[:_MESSAGE_CHARACTERS_MAX]
    return short


def decode(error: grpc.aio.AioRpcError) -> ApiError:
    """The ApiError that a failed call carries, or the one that its gRPC code amounts to."""
    status = _attached(error.trailing_metadata() or ())
    if status is not None:
        return ApiError(status)
    code: grpc.StatusCode = error.code()
    reason = _REASON_OF_CODE.get(code, "InternalError")
    return errors.new(reason, f"{code.name.lower()}: {error.details()}")


def _attached(metadata: Iterable[Any]) -> Status | None:
    for key, value in metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            for packed in status_pb2.Status.FromString(value).details:
                if packed.type_url == _TYPE_URL:
                    return Status.FromString(packed.value)
    return None
