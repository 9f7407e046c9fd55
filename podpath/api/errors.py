"""Kubernetes' API errors: one exception that carries a Status, and how it maps to HTTP and gRPC.

Source: k8s.io/apimachinery pkg/api/errors, pkg/apis/meta/v1/types.go.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import orjson

from podpath.api.go_text import quote
from protos.k8s.meta_v1_pb2 import Status, StatusCause, StatusDetails

# reason -> (HTTP code, name of the gRPC status code)
REASONS: dict[str, tuple[int, str]] = {
    "BadRequest": (400, "INVALID_ARGUMENT"),
    "Unauthorized": (401, "UNAUTHENTICATED"),
    "Forbidden": (403, "PERMISSION_DENIED"),
    "NotFound": (404, "NOT_FOUND"),
    "MethodNotAllowed": (405, "UNIMPLEMENTED"),
    "NotAcceptable": (406, "INVALID_ARGUMENT"),
    "AlreadyExists": (409, "ALREADY_EXISTS"),
    "Conflict": (409, "ABORTED"),
    "Gone": (410, "OUT_OF_RANGE"),
    "Expired": (410, "OUT_OF_RANGE"),
    "RequestEntityTooLarge": (413, "RESOURCE_EXHAUSTED"),
    "UnsupportedMediaType": (415, "INVALID_ARGUMENT"),
    "Invalid": (422, "INVALID_ARGUMENT"),
    "TooManyRequests": (429, "RESOURCE_EXHAUSTED"),
    "InternalError": (500, "INTERNAL"),
    "ServerTimeout": (500, "UNAVAILABLE"),
    "ServiceUnavailable": (503, "UNAVAILABLE"),
    "Timeout": (504, "DEADLINE_EXCEEDED"),
}


class ApiError(Exception):
    """A failed API call, as Kubernetes tells it."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status

    @property
    def reason(self) -> str:
        """`NotFound`, `Conflict`, ...; empty when the server gave none."""
        return self.status.reason

    @property
    def code(self) -> int:
        """The HTTP status code."""
        return self.status.code


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of an object.

    `reason` is the cause's reason (`FieldValueRequired`), `path` the field's path
    (`spec.containers[0].name`), `message` the text after the path.
    """

    reason: str
    path: str
    message: str


def required(path: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", path, _with("Required value", detail))


def invalid(path: str, value: object, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", path, f"Invalid value: {_go_value(value)}: {detail}")


def not_supported(path: str, value: object, supported: Iterable[str]) -> FieldError:
    """`supported` is told in its order, a set in sorted order."""
    listed = sorted(supported) if isinstance(supported, AbstractSet) else supported
    values = ", ".join(map(quote, listed))
    message = f"Unsupported value: {_go_value(value)}: supported values: {values}"
    return FieldError("FieldValueNotSupported", path, message)


def duplicate(path: str, value: object) -> FieldError:
    return FieldError("FieldValueDuplicate", path, f"Duplicate value: {_go_value(value)}")


def forbidden_field(path: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", path, _with("Forbidden", detail))


def not_found_field(path: str, value: object) -> FieldError:
    return FieldError("FieldValueNotFound", path, f"Not found: {_go_value(value)}")


def too_long(path: str, max_length: int) -> FieldError:
    return FieldError(
        "FieldValueTooLong", path, f"Too long: may not be more than {max_length} bytes"
    )


def too_many(path: str, actual: int, maximum: int) -> FieldError:
    message = f"Too many: {actual}: must have at most {maximum} items"
    return FieldError("FieldValueTooMany", path, message)


def _with(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head


class GoValue(str):
    """A bad value that is already written as Go prints it."""

    __slots__ = ()


def _go_value(value: object) -> str:
    """As upstream prints a bad value: simple ones plainly, others in Go's syntax.

    Whole structs, which upstream prints with the addresses of their pointers, are told as JSON.
    """
    if isinstance(value, GoValue):
        return str(value)
    if value is None:
        return '"null"'
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return f"[]string{{{', '.join(map(quote, value))}}}"
    return str(value) if type(value) is int else orjson.dumps(value).decode()


def go_labels(labels: Mapping[str, str]) -> GoValue:
    """A map of labels as Go prints it; an empty one is nil."""
    if not labels:
        return GoValue("map[string]string(nil)")
    pairs = ", ".join(f"{quote(key)}:{quote(labels[key])}" for key in sorted(labels))
    return GoValue(f"map[string]string{{{pairs}}}")


def new(reason: str, message: str, details: StatusDetails | None = None) -> ApiError:
    """An error of any reason of `REASONS`, with its code."""
    status = Status(status="Failure", message=message, reason=reason, code=REASONS[reason][0])
    if details is not None:
        status.details.CopyFrom(details)
    return ApiError(status)


def _details(group: str, resource: str, name: str = "", retry_after_s: int = 0) -> StatusDetails:
    details = StatusDetails(kind=resource)
    if name:
        details.name = name
    if group:
        details.group = group
    if retry_after_s:
        details.retryAfterSeconds = retry_after_s
    return details


def _qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


def not_found(group: str, resource: str, name: str) -> ApiError:
    message = f'{_qualified(group, resource)} "{name}" not found'
    return new("NotFound", message, _details(group, resource, name))


def already_exists(group: str, resource: str, name: str) -> ApiError:
    message = f'{_qualified(group, resource)} "{name}" already exists'
    return new("AlreadyExists", message, _details(group, resource, name))


def generate_name_conflict(group: str, resource: str, name: str) -> ApiError:
    message = (
        f'{_qualified(group, resource)} "{name}" already exists, '
        "the server was not able to generate a unique name for the object"
    )
    return new("AlreadyExists", message, _details(group, resource, name, retry_after_s=1))


def conflict(group: str, resource: str, name: str, cause: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {_qualified(group, resource)} "{name}": {cause}'
    return new("Conflict", message, _details(group, resource, name))


STALE_OBJECT = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def forbidden(group: str, resource: str, name: str, cause: str) -> ApiError:
    target = f'{_qualified(group, resource)} "{name}"' if name else _qualified(group, resource)
    return new("Forbidden", f"{target} is forbidden: {cause}", _details(group, resource, name))


def invalid_object(group: str, kind: str, name: str, errors: Iterable[FieldError]) -> ApiError:
    """422 with a cause for each field. `kind` is the kind, not the resource, as upstream has it."""
    errors = list(errors)
    details = _details(group, kind, name)
    details.causes.extend(
        StatusCause(reason=e.reason, message=e.message, field=e.path) for e in errors
    )
    texts = list(dict.fromkeys(f"{e.path}: {e.message}" for e in errors))
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return new("Invalid", f'{_qualified(group, kind)} "{name}" is invalid: {listed}', details)


def bad_request(message: str) -> ApiError:
    return new("BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> ApiError:
    return new("Unauthorized", message)


def expired(message: str) -> ApiError:
    """The resourceVersion asked for is no longer held: list again."""
    return new("Expired", message)


def method_not_supported(group: str, resource: str, action: str) -> ApiError:
    message = f'{action} is not supported on resources of kind "{_qualified(group, resource)}"'
    return new("MethodNotAllowed", message, _details(group, resource))


def server_timeout(group: str, resource: str, operation: str, retry_after_s: int = 2) -> ApiError:
    message = (
        f"The {operation} operation against {_qualified(group, resource)} "
        "could not be completed at this time, please try again."
    )
    return new("ServerTimeout", message, _details(group, resource, operation, retry_after_s))


def timeout(message: str, retry_after_s: int = 0) -> ApiError:
    details = StatusDetails(retryAfterSeconds=retry_after_s) if retry_after_s else None
    return new("Timeout", f"Timeout: {message}", details)


def internal_error(cause: str) -> ApiError:
    details = StatusDetails(causes=[StatusCause(message=cause)])
    return new("InternalError", f"Internal error occurred: {cause}", details)


def service_unavailable(message: str) -> ApiError:
    return new("ServiceUnavailable", message)


def too_many_requests(message: str, retry_after_s: int) -> ApiError:
    return new("TooManyRequests", message, StatusDetails(retryAfterSeconds=retry_after_s))


def too_large(message: str) -> ApiError:
    return new("RequestEntityTooLarge", f"Request entity too large: {message}")


def unsupported_media_type(message: str) -> ApiError:
    return new("UnsupportedMediaType", message)


def not_acceptable(message: str) -> ApiError:
    return new("NotAcceptable", message)
